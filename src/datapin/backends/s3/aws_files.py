"""AWS's own files and variables as far as finding an S3 server needs them. botocore's reader costs 0.2 s to load."""

from __future__ import annotations

import configparser
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from datapin.base.errors import BadSettings

Section = dict[str, str]

_WAYS_OF_AMAZON = ("use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint")
_ELSEWHERE = (
    "role_arn",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "credential_process",
    "login_session",
)


@dataclass(frozen=True, slots=True)
class AwsProfile:
    """What the environment and a profile of AWS's config file say; empty where they say nothing."""

    region: str = ""
    endpoint: str = ""
    ca_bundle: str = ""
    addressing_style: str = ""
    special: str = ""  # a way to reach Amazon that only botocore knows


def read_aws_profile(config_file: str, name: str) -> AwsProfile:
    """The profile `name`, else the one that the environment names, else the default one. Raises BadSettings."""
    sections = _read_sections(config_file)
    profile = _profile(sections, name)
    s3 = _nested(profile.get("s3", ""))
    is_special = {way: _first(f"AWS_{way.upper()}") or profile.get(way) or s3.get(way, "") for way in _WAYS_OF_AMAZON}
    return AwsProfile(
        region=_first("AWS_DEFAULT_REGION") or profile.get("region", ""),
        endpoint=_endpoint(sections, profile),
        ca_bundle=_first("AWS_CA_BUNDLE") or profile.get("ca_bundle", "") or _first("REQUESTS_CA_BUNDLE"),
        addressing_style=s3.get("addressing_style", ""),
        special=" ".join(way for way, said in is_special.items() if said.lower() == "true"),
    )


def read_aws_keys(config_file: str, credentials_file: str, name: str) -> tuple[str, str, str] | None:
    """Key, secret and token that stand plainly in the environment or in AWS's credentials file.

    None if the profile gets them in another way (a role, single sign-on, the machine's own), which botocore knows.
    """
    if not name and (key := _first("AWS_ACCESS_KEY_ID")) and (secret := _first("AWS_SECRET_ACCESS_KEY")):
        return key, secret, _first("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
    wanted = name or _first("AWS_DEFAULT_PROFILE", "AWS_PROFILE") or "default"
    plain = _read_sections(credentials_file).get(wanted, {})
    everything = _profile(_read_sections(config_file), name) | plain
    if any(everything.get(way) for way in _ELSEWHERE):
        return None
    key, secret = plain.get("aws_access_key_id", ""), plain.get("aws_secret_access_key", "")
    return (key, secret, plain.get("aws_session_token", "")) if key and secret else None


def _read_sections(path: str) -> dict[str, Section]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(Path(os.path.expandvars(path)).expanduser().read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return {}
    except (configparser.Error, UnicodeDecodeError):
        # Parsers quote the line they stumble over, which may be a secret.
        raise BadSettings(path, "", "it is not a file of settings that AWS's tools read") from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _profile(sections: dict[str, Section], name: str) -> Section:
    wanted = name or _first("AWS_DEFAULT_PROFILE", "AWS_PROFILE") or "default"
    found = {} if wanted != "default" else sections.get("default", {})
    return _titled(sections, "profile", wanted) or found


def _titled(sections: dict[str, Section], kind: str, name: str) -> Section:
    for title, section in sections.items():
        try:
            words = shlex.split(title)
        except ValueError:
            continue
        if words == [kind, name]:
            return section
    return {}


def _nested(text: str) -> Section:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _endpoint(sections: dict[str, Section], profile: Section) -> str:
    """botocore's order: the service's own before the general one, the environment before the file."""
    ignored = _first("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or profile.get("ignore_configured_endpoint_urls", "")
    if ignored.lower() == "true":
        return ""
    services = _titled(sections, "services", profile.get("services", ""))
    return (
        _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        or _nested(services.get("s3", "")).get("endpoint_url", "")
        or profile.get("endpoint_url", "")
    )


def _first(*variables: str) -> str:
    return next((value for variable in variables if (value := os.environ.get(variable))), "")
