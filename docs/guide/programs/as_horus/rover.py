"""As HORUS's users write it: a sensor, a controller, and a node that waits for a network."""

import asyncio

import horus
from horus import CmdVel, Node, us

obstacles = []
stops = 0


def scan(node):
    node.send("obstacle", {"distance": 2.0 - 0.1 * node.info.tick_count()})


def drive(node):
    global stops
    for obstacle in node.recv_all("obstacle"):
        obstacles.append(obstacle["distance"])
    near = bool(obstacles) and obstacles[-1] < 1.0
    stops += near
    node.send("cmd_vel", CmdVel(0.0 if near else 0.5, 0.0))


async def report(node):
    await asyncio.sleep(0.2)  # a slow server
    if node.has_msg("cmd_vel"):
        node.send("speed", node.recv_all("cmd_vel")[-1].linear)


if __name__ == "__main__":
    speed = horus.Topic("speed")
    horus.run(
        Node("lidar", tick=scan, rate=20, order=0, pubs=["obstacle"]),
        Node(
            "drive",
            tick=drive,
            rate=50,
            order=1,
            budget=500 * us,
            subs=["obstacle"],
            pubs=[horus.Pub("cmd_vel", CmdVel)],
        ),
        Node(
            "uplink",
            tick=report,
            rate=2,
            subs=[horus.Sub("cmd_vel", CmdVel)],
            pubs=["speed"],
        ),
        duration=2,
    )
    reported = []
    while (value := speed.recv()) is not None:
        reported.append(value)
    print("nearest obstacle:", round(min(obstacles), 1), "m")
    print("stopped for it:", stops > 10)
    print("speeds that were reported:", sorted(set(reported), reverse=True))
