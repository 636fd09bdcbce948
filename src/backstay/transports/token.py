"""The form of a token's answer: keystoneauth1 takes it apart as it comes.

https://docs.openstack.org/api-ref/identity/v3/#password-authentication-with-unscoped-authorization
"""

from dataclasses import dataclass
from typing import Any

from keystoneauth1.access import AccessInfoV3

from backstay.answers import BadAnswer, convert


@dataclass(frozen=True, slots=True)
class _Named:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Endpoint:
    url: str
    interface: str
    id: str | None = None
    region: str | None = None
    region_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Service:
    type: str
    endpoints: list[_Endpoint]
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    expires_at: str
    user: _Named
    project: _Named | None = None
    roles: list[_Named] | None = None
    catalog: list[_Service] | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    token: _Token


def check_token(access: AccessInfoV3) -> None:
    """Raise BadAnswer where what keystone sent with a token is not of the form of one.

    From then on its texts are clean, nothing in it is a number that is none, and what is null is
    absent: keystoneauth1 looks only for that.
    """
    if not isinstance(access.auth_token, str) or not access.auth_token.isascii():
        raise BadAnswer("a text expected", place="X-Subject-Token")
    sent = vars(access).get("_data")
    convert(_Answer, sent)
    token = convert(dict[str, Any], sent)["token"]
    there = {key: value for key, value in token.items() if value is not None}
    access._data = {"token": there}  # type: ignore[typeddict-item]
    try:
        access.will_expire_soon()
    except (ValueError, TypeError, OverflowError):
        raise BadAnswer("a time expected", place="token.expires_at") from None
