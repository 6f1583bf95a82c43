"""docs/openapi.yaml: valid, complete, and true."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import openapi_spec_validator
import pytest
import yaml

from daemon import ECHO, Daemon, recall

# What another host's certificate is needed for, what never ends, what takes ten seconds, what changes the swarm.
NOT_TRIED = "^/v1/(sync/.*|swarm/(ws|events|join|rotate|evict)|mcp/diagnostics|admin/drain)$"


@pytest.fixture(scope="module")
def document(root):
    return yaml.safe_load((root / "docs/openapi.yaml").read_text())


@pytest.fixture(scope="module")
def shared(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("openapi"), {"models": [recall(), ECHO]}, [], {}).start()
    yield one
    one.close()


def test_the_document_is_valid_and_served_as_it_is(shared, root, document):
    openapi_spec_validator.validate(document)
    served = shared.get("/openapi.yaml")
    assert served.headers["content-type"] == "application/yaml"
    assert served.content == (root / "docs/openapi.yaml").read_bytes()


def test_routes_and_document_do_not_drift_apart(root, document):
    """Every path that stands in the sources of the routes is described, and nothing else is."""
    routed = {
        path
        for source in (root / "Sources/Gateway").rglob("*Route.swift")
        for path in re.findall(r'"(/[\w./{}-]*)"', source.read_text())
        # A prefix behind which an id stands.
        if path == "/" or not path.endswith("/")
    }
    assert routed == set(document["paths"])


def test_every_operation_answers_to_its_methods_and_to_no_other(shared, document):
    for path, item in document["paths"].items():
        if re.match("^/v1/(sync/|swarm/(ws|work|tunnel))", path):
            continue
        answer = httpx.options(shared.url + re.sub(r"\{\w+\}", "x", path), timeout=30)
        allowed = set(answer.headers["allow"].split(", ")) - {"OPTIONS", "HEAD"}
        assert allowed == {method.upper() for method in item}, path


def undescribed(schema, value, document, place=""):
    """Members of `value` that its schema has no word for."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        for item in value:
            yield from undescribed(schema.get("items", {}), item, document, place + "[]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, member in value.items():
            if name not in schema["properties"]:
                yield f"{place}.{name}"
            else:
                yield from undescribed(schema["properties"][name], member, document, f"{place}.{name}")


def test_every_field_of_what_hosts_tell_of_one_another_is_described(swarm, document):
    one, _ = swarm(2).hosts
    for path in ("/v1/mcp/peers", "/v1/swarm/nodes", "/v1/swarm/status", "/v1/swarm/topology"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        page = one.get(path, params={"self": "1"} if path.endswith("peers") else None).json()
        assert list(undescribed(schema, page, document)) == [], path
        whole = {**schema, "components": document["components"]}
        assert [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(page)] == [], path


def test_what_is_sent_and_answered_is_as_described(shared, root):
    """Schemathesis sends what the document allows, and looks at each reply; a few seconds of it."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", str(root / "docs/openapi.yaml"),
            "--url", shared.url, "--phases", "examples,fuzzing", "--max-time", "20", "--max-examples", "8", "--seed", "1",
            "--generation-deterministic", "--exclude-path-regex", NOT_TRIED, "--request-timeout", "20",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance,response_headers_conformance",
        ],
        capture_output=True, text=True, timeout=110, cwd=shared.home,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
