from typing import Any

class YAMLError(Exception): ...
class BaseLoader: ...

def compose(stream: str, Loader: type[BaseLoader]) -> Any: ...  # noqa: N803
def load(stream: str, Loader: type[BaseLoader]) -> Any: ...  # noqa: N803
