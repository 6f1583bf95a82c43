"""More hosts than `mcp.mesh_limit`: each keeps a few links, and a tree carries what is said to all."""

import time

import pytest

from swarm import HEALED, wait_for

LIMIT = 3


def topology(host) -> tuple[dict[str, int], set[frozenset[str]]]:
    """Degrees of the members that are alive, and the links, as this host shows them."""
    page = host.fetch("/v1/swarm/topology").json
    degrees = {node["id"]: node["degree"] for node in page["nodes"] if node["state"] == "alive"}
    links = {frozenset((link["from"], link["to"])) for link in page["links"]}
    assert len(links) == len(page["links"]), f"a link is shown twice: {page['links']}"
    return degrees, links


def is_connected(degrees: dict[str, int], links: set[frozenset[str]]) -> bool:
    reached, border = set(), [next(iter(degrees))]
    while border:
        node = border.pop()
        if node not in reached:
            reached.add(node)
            border += [other for link in links if node in link for other in link - {node} if other in degrees]
    return reached == set(degrees)


def is_settled(hosts) -> bool:
    """Whether every host shows the same links, no host more than allowed, and a path from each to each."""
    seen = [topology(host) for host in hosts]
    degrees, links = seen[0]
    return (
        all(view == seen[0] for view in seen) and len(degrees) == len(hosts)
        and all(1 < degree <= LIMIT for degree in degrees.values()) and is_connected(degrees, links))


def settled(hosts, within: float = 40.0) -> dict[str, int]:
    wait_for(lambda: f"few links, seen alike by all: {[topology(host) for host in hosts]}", lambda: is_settled(hosts), within)
    return topology(hosts[0])[0]


def hear_of(hosts, conversation: str, turns: int, within: float = HEALED) -> None:
    wait_for(
        lambda: f"{turns} turns everywhere: {[len(host.texts(conversation)) for host in hosts]}",
        lambda: all(len(host.texts(conversation)) == turns for host in hosts), within)


@pytest.fixture
def eight(swarm):
    group = swarm(8, start=False, config={"mcp": {"mesh_limit": LIMIT}})
    group.start(within=40)
    return group


def test_eight_hosts_with_three_links_each_are_one_swarm(eight):
    settled(eight.hosts)
    for host in eight.hosts:
        links = host.status()["links"]
        assert links["mode"] == "tree" and links["limit"] == LIMIT and 1 < links["own"] <= LIMIT, links
    for number in range(16):
        eight.hosts[number % 8].hear(f"t{number}", f"talk{number % 2}")
    for conversation in ("talk0", "talk1"):
        hear_of(eight.hosts, conversation, 16)
    eight.equal(within=2 * HEALED)
    assert all(host.count("igris_overlay_active") == 1 for host in eight.hosts)
    # It was the tree that brought it: payloads were sent, and what came did so after a hop or more.
    assert sum(host.count("igris_overlay_messages_total") for host in eight.hosts) > 0
    assert all(host.count("igris_overlay_hops_count") > 0 for host in eight.hosts)
    # A deletion is confirmed by all of them, also by those that are not linked with the one that is asked.
    deleted = eight.hosts[0].fetch("/v1/mcp/contexts/talk0?wait=5", "DELETE").json
    assert len(deleted["confirmed"]) == 8 and not deleted["pending"], deleted


def test_the_tree_heals_when_all_relays_of_an_author_are_killed(eight):
    settled(eight.hosts)
    author = eight.hosts[0]
    author.hear("before", "talk")
    hear_of(eight.hosts, "talk", 2)
    # Whoever brings the author's turns to the others: all hosts that it is linked with.
    own = {node for link in topology(author)[1] if author.id in link for node in link - {author.id}}
    relays = [host for host in eight.hosts if host.id in own]
    for relay in relays:
        relay.kill9()
    rest = eight.running
    author.hear("after", "talk")
    hear_of(rest, "talk", 4, within=2 * HEALED)
    wait_for(
        lambda: f"the others alive: {[host.alive() for host in rest]}",
        lambda: all(host.alive() == len(rest) - 1 for host in rest), 4 * HEALED)
    settled(rest)
    rest[-1].hear("and on", "talk")
    hear_of(rest, "talk", 6, within=2 * HEALED)
    # Back again, they find a place and hear of everything.
    for relay in relays:
        relay.start()
    eight.together(within=4 * HEALED)
    hear_of(eight.hosts, "talk", 6, within=2 * HEALED)
    settled(eight.hosts)
    eight.equal(within=2 * HEALED)


def test_a_quorum_counts_those_that_are_not_linked(swarm):
    group = swarm(7, start=False, config={"mcp": {"mesh_limit": LIMIT}, "context": {"durability": "quorum"}})
    group.start(within=40)
    settled(group.hosts)
    reply = group.hosts[0].say("hello", "talk")
    assert reply.status == 200, reply.text
    # Of seven four, and nobody has more than three links.
    assert int(reply.headers["x-igris-replicas"]) >= 4, reply.headers
    hear_of(group.hosts, "talk", 2)


def test_a_newcomer_with_one_seed_gets_into_a_swarm_whose_links_are_taken(eight):
    settled(eight.hosts)
    eight.hosts[3].hear("before", "talk")
    late = eight.host(mesh_limit=LIMIT, seeds=[f"127.0.0.1:{eight.hosts[0].port}"])
    late.start()
    eight.together(within=4 * HEALED)
    hear_of([late], "talk", 2, within=2 * HEALED)
    late.hear("from the newcomer", "talk")
    hear_of(eight.hosts, "talk", 4)
    settled(eight.hosts)


def test_the_key_changes_across_hosts_that_are_not_linked(swarm):
    group = swarm(6, key=None, start=False, config={"mcp": {"mesh_limit": LIMIT}})
    first, *others = group.hosts
    first.start()
    key = first.swarm_key()
    for host in others:
        host.own("swarm", "join", key)
        host.start(until=None)
    for host in others:
        host.wait_until("/readyz")
    group.together(within=40)
    settled(group.hosts)
    before = first.status()["swarm"]
    others[2].command("swarm", "rotate", within=90)
    wait_for(
        lambda: f"one new key, the old one retired: {[host.status() for host in group.hosts]}",
        lambda: len({host.status()["swarm"] for host in group.hosts} - {before}) == 1
        and all(host.status()["swarm"] != before for host in group.hosts)
        and all(host.status()["rotation"]["phase"] == "retired" for host in group.hosts), 6 * HEALED)
    begin = time.monotonic()
    group.together(within=6 * HEALED)
    print(f"all see all {time.monotonic() - begin:.2f} s after the change")
    others[4].hear("after", "talk")
    hear_of(group.hosts, "talk", 2, within=2 * HEALED)
