"""A platform on which vLLM decides how its engine starts."""


class current_platform:  # noqa: N801 (vLLM's name)
    @staticmethod
    def is_cpu():
        return False
