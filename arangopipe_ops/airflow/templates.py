"""How our tasks render templates: a lone expression gives its value, and not its text."""

import re
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import BaseOperator, Context

    _Task = BaseOperator
else:
    _Task = object

_LONE_EXPRESSION = re.compile(r"\s*\{\{(?![-+])((?:(?!\{\{|\}\}).)+)(?<![-+])\}\}\s*", re.DOTALL)


class ValueTemplates(_Task):
    """For a task whose template `"{{ ti.xcom_pull('train') }}"` is what that task returned, with its type."""

    def render_template(
        self,
        content: Any,
        context: "Context",
        jinja_env: "jinja2.Environment | None" = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, but a lone expression to its value.

        Airflow's native rendering would do that too, and also turn a version "1e3" into the number 1000.
        """
        template = isinstance(content, str) and id(content) not in (seen_oids or ())
        if template and (lone := _LONE_EXPRESSION.fullmatch(content)):
            env = jinja_env or self.get_template_env()
            value = env.compile_expression(lone[1], undefined_to_none=False)(context)
            if not isinstance(value, Undefined):
                return value
        return super().render_template(content, context, jinja_env, seen_oids)
