"""Counting the queries of a DNS handler, which is given and gives what it would without."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from proxywatch.instrument.answer import Answer, current
from proxywatch.instrument.query import Query

Handler = Callable[..., Any]
Begin = Callable[[object, tuple[Any, ...], dict[str, Any]], Query]
"""Begins a query, given the message and all arguments of the handler."""
Cached = Callable[[Any, Any], bool | None]
"""Tells of a query and its response whether it came from a cache; None when that is no matter."""
Finish = Callable[[object, Query, Any], object]

_MARK = "_counted_by"


def wrapped_handler(handler: Handler, owner: object, begin: Begin, cached: Cached | None) -> Handler:
    """A handler that tells `begin` of each query and then does what `handler` does."""
    if getattr(handler, _MARK, None) is owner:
        return handler
    finish = functools.partial(_finish, cached)
    wrap = _coroutine_function if inspect.iscoroutinefunction(handler) else _function
    wrapper = wrap(handler, begin, finish)
    setattr(wrapper, _MARK, owner)
    return wrapper


def _coroutine_function(handler: Handler, begin: Begin, finish: Finish) -> Handler:
    @functools.wraps(handler)
    async def handle(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        message = _message(args, kwargs)
        query = begin(message, args, kwargs)
        token = current.set(query)
        try:
            return finish(message, query, await handler(*args, **kwargs))
        except BaseException as error:
            query.fail(error)
            raise
        finally:
            current.reset(token)

    return handle


def _function(handler: Handler, begin: Begin, finish: Finish) -> Handler:
    @functools.wraps(handler)
    def handle(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        message = _message(args, kwargs)
        query = begin(message, args, kwargs)
        token = current.set(query)
        try:
            result = handler(*args, **kwargs)
            if inspect.isawaitable(result):
                return _awaited(message, query, result, finish)
            return finish(message, query, result)
        except BaseException as error:
            query.fail(error)
            raise
        finally:
            current.reset(token)

    return handle


async def _awaited(message: object, query: Query, result: Awaitable[object], finish: Finish) -> object:
    """The response of a plain function that gives an awaitable."""
    token = current.set(query)
    try:
        return finish(message, query, await result)
    except BaseException as error:
        query.fail(error)
        raise
    finally:
        current.reset(token)


def _finish(cached: Cached | None, message: object, query: Query, response: object) -> object:
    bare = response.message if isinstance(response, Answer) else response
    if cached is not None and query.cached is None:
        try:
            query.cached = cached(message, bare)
        except Exception:  # noqa: BLE001 - a fault in judging must not cost the client its answer
            query.cached = None
    query.answer(response)
    return bare


def _message(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return args[0] if args else next(iter(kwargs.values()), None)
