"""Settings files and the command line."""

import json
import re
import socket
import subprocess

import pytest

from daemon import Daemon, free_port, recall

# The configuration of the requirement, word for word.
SEED = """{
mcp: {
enabled: true,
mdns: true, // Auto-discovery via mDNS
multicast: true, // UDP fallback for restricted networks
persist: true, // Store context encrypted on disk
storage_path: "mcp_contexts.db",
encryption_key: "${MCP_ENCRYPTION_KEY}" // Optional custom key
}
}
"""


@pytest.fixture
def run(binary, tmp_path):
    def run(*arguments: str, input: str | None = None, env: dict | None = None) -> subprocess.CompletedProcess:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8", **(env or {})}
        return subprocess.run(
            [str(binary), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}),
        )

    return run


def write(tmp_path, text: str) -> str:
    path = tmp_path / "config.json5"
    path.write_bytes(text.encode())
    return str(path)


# check


def test_the_requirements_block_loads_word_for_word(run, tmp_path):
    done = run("check", "--config", write(tmp_path, SEED))
    assert done.returncode == 0, done.stderr


def test_the_example_loads_and_documents_every_key(run, root):
    done = run("check", "--json", "--config", str(root / "config.example.json5"))
    assert done.returncode == 0, done.stderr
    example = (root / "config.example.json5").read_text()
    keys = {re.sub(r"\[\d+\]", "", value["key"]).split(".")[-1] for value in json.loads(done.stdout)["settings"]}
    assert len(keys) > 15
    missing = [key for key in keys if not re.search(rf"\b{key}\b", example)]
    assert not missing


def test_all_of_json5_is_read(run, tmp_path):
    text = "\ufeff/* head */ {\n  'server': {port: +0x1F90, host: \"127.0.0\\\n.1\",}, // trailing commas\n}\n"
    done = run("check", "--json", "--config", write(tmp_path, text))
    assert done.returncode == 0, done.stderr
    values = {value["key"]: value["value"] for value in json.loads(done.stdout)["settings"]}
    assert (values["server.port"], values["server.host"]) == (8080, "127.0.0.1")


@pytest.mark.parametrize(
    "text, position, words",
    [
        ('{\n mcp: {\n  encrypton_key: "x" } }', "3:3", ["encryption_key"]),
        ("{ server: { prot: 1 } }", "1:13", ["port"]),
        ("{\n server: { port: 80,\n  port: 81 } }", "3:3", ["port"]),
        ("{ server: { port: 70000 } }", "1:19", ["65535"]),
        ('{ server: { port: "x" } }', "1:19", ["server.port"]),
        ("{ mcp: { persist: 1 } }", "1:19", ["true or false"]),
        ("{ mcp: { } ", "1:1:", ["}"]),
        ("{ a: 'x\n' }", "1:6", ["quote"]),
        ("[]", "1:1", []),
        ("{" + "a:{" * 100 + "}" * 101, "1:", ["deep"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_column(run, tmp_path, text, position, words):
    path = write(tmp_path, text)
    for command in (["check", "--config", path], ["--config", path, "--port", "0"]):
        done = run(*command)
        assert done.returncode == 78, done.stdout + done.stderr
        assert f"config.json5:{position}" in done.stderr, done.stderr
        message = done.stderr.replace(",", "")
        assert all(word in message for word in words), done.stderr


def test_all_problems_are_told_at_once(run, tmp_path):
    done = run("check", "--config", write(tmp_path, "{ server: { prot: 1, host: 5 },\n mcp: { persist: 'x' } }"))
    assert done.returncode == 78
    assert len(done.stderr.strip().splitlines()) == 3, done.stderr


def test_a_missing_file_is_named(run):
    done = run("check", "--config", "nowhere.json5")
    assert done.returncode in (66, 78)
    assert "nowhere.json5" in done.stderr


def test_flags_win_over_the_environment_and_that_over_the_file(run, tmp_path):
    path = write(tmp_path, "{ server: { port: 1111 } }")

    def port(*arguments, **env):
        done = run("check", "--json", "--config", path, *arguments, env=env)
        assert done.returncode == 0, done.stderr
        [value] = [value for value in json.loads(done.stdout)["settings"] if value["key"] == "server.port"]
        return value["value"], value["source"]

    assert port()[0] == 1111 and "config.json5:1:" in port()[1]
    assert port(IGRIS_SERVER_PORT="2222") == (2222, "environment IGRIS_SERVER_PORT")
    assert port("--port", "3333", IGRIS_SERVER_PORT="2222") == (3333, "flag --port")


def test_references_to_the_environment(run, tmp_path):
    text = "{ server: { host: '${HOST_NAME:-127.0.0.9}' }, mcp: { encryption_key: '${MCP_ENCRYPTION_KEY}' } }"
    path = write(tmp_path, text)

    def values(**env):
        done = run("check", "--json", "--config", path, env=env)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        return {value["key"]: value["value"] for value in report["settings"]}, report["notices"], done.stdout

    unset, notices, _ = values()
    assert unset["server.host"] == "127.0.0.9"
    assert unset["mcp.encryption_key"] is None
    assert any("MCP_ENCRYPTION_KEY" in notice for notice in notices)
    given, _, text = values(HOST_NAME="127.0.0.1", MCP_ENCRYPTION_KEY="very secret words")
    assert given["server.host"] == "127.0.0.1"
    assert given["mcp.encryption_key"] == "<secret>"
    assert "very secret words" not in text


# Other commands


def test_version_and_help(run):
    version = run("--version")
    assert version.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)
    assert "check" in run("--help").stdout


def test_wrong_usage_is_64(run):
    assert run("--no-such-flag").returncode == 64
    assert run("check", "extra", "words").returncode == 64


@pytest.mark.parametrize("command", [["status"], ["models"], ["chat", "Hello"]])
def test_without_a_daemon_commands_say_so_and_end_with_69(run, command):
    done = run(*command, "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 69
    assert "no daemon" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "host, words",
    [("203.0.113.7", "is not an address of this machine"), ("nobody.invalid", "is no name that this machine knows")],
)
def test_an_address_that_is_none_of_this_machine_is_named(run, tmp_path, host, words):
    config = tmp_path / "config.json5"
    config.write_text("{mcp: {mdns: false, multicast: false}}")
    done = run("--config", str(config), "--host", host, "--port", str(free_port()))
    assert done.returncode == 78 and host in done.stderr and words in done.stderr, done.stderr
    assert "server.host" in done.stderr and "Error:" not in done.stderr


@pytest.mark.parametrize("path", ["/proc/nowhere/contexts.db", "/sys/contexts.db"])
def test_a_store_that_cannot_be_made_is_named_with_its_place(run, tmp_path, path):
    config = tmp_path / "config.json5"
    config.write_text(json.dumps({"mcp": {"storage_path": path, "mdns": False, "multicast": False}}))
    done = run("--config", str(config), "--port", str(free_port()))
    assert done.returncode == 1, done.stderr
    assert path in done.stderr and "mcp.storage_path" in done.stderr, done.stderr


def test_keys_that_cannot_be_kept_are_named_with_their_place(run, tmp_path):
    config = tmp_path / "config.json5"
    config.write_text("{mcp: {mdns: false, multicast: false}}")
    for verb in (["--port", str(free_port())], ["swarm", "key"], ["swarm", "join", "5eed" * 16]):
        done = run(*verb, "--config", str(config), env={"XDG_STATE_HOME": "/proc/nowhere"})
        assert done.returncode in (1, 78), done.stderr
        assert "/proc/nowhere/igris" in done.stderr and "XDG_STATE_HOME" in done.stderr, done.stderr


def test_a_taken_port_is_named(run, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--config", write(tmp_path, "{}"), "--host", "127.0.0.1", "--port", str(port))
    assert done.returncode not in (0, 64)
    assert str(port) in done.stderr


@pytest.fixture(scope="module")
def one(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("cli"), {"models": [recall()]}, [], {}).start()
    yield one
    one.close()


def test_status_and_models_print_json_and_text(run, one):
    status = run("status", "--json", "--url", one.url)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["ready"] is True
    models = json.loads(run("models", "--json", "--url", one.url).stdout)
    assert [model["name"] for model in models] == ["igris-recall"]
    text = run("status", "--url", one.url)
    assert text.stdout.startswith("ok\n") and "igris-recall" in text.stdout, text.stderr
    assert "igris-recall" in run("models", "--url", one.url).stdout


def test_short_commands_never_stumble_over_a_quick_answer(run, one):
    # The daemon's reply may be complete, and its connection closed, before a command has finished its request.
    failed = [done.stderr for _ in range(40) if (done := run("status", "--url", one.url)).returncode]
    assert not failed


def test_chat_reads_a_pipe_and_prints_the_answer_alone(run, one):
    told = run("chat", "-c", "pipe", "--url", one.url, input="Remember: my name is Alice\n")
    assert (told.returncode, told.stdout) == (0, "I will remember that your name is Alice\n"), told.stderr
    asked = run("chat", "-c", "pipe", "--url", one.url, "--model", "phi3", "What is", "my name?")
    assert (asked.returncode, asked.stdout) == (0, "Your name is Alice\n"), asked.stderr


def test_chat_with_an_unknown_model_fails_with_the_daemons_words(run, one):
    done = run("chat", "--url", one.url, "--model", "gpt-9", "Hello")
    assert done.returncode not in (0, 64)
    assert "no model" in done.stderr and "igris-recall" in done.stderr
