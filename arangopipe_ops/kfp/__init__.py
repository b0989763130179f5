"""Kubeflow components that record every step of a pipeline in the metadata graph.

`components` has them ready, `factory` makes them with other images and packages, `tracking` is for pipelines,
`runtime` is what the components do. Nothing is imported here: a component's container needs the runtime alone.
"""
