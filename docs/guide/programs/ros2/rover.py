"""A sonar and a node that drives, for ROS 2."""

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from std_msgs.msg import Float64


class Sonar(Node):
    def __init__(self):
        super().__init__("sonar")
        self.metres = self.declare_parameter("start", 1.3).value
        self.publisher = self.create_publisher(Float64, "distance", QoSProfile(depth=10))
        self.timer = self.create_timer(0.1, self.measure)

    def measure(self):
        self.publisher.publish(Float64(data=round(self.metres, 1)))
        self.metres -= 0.1


class Drive(Node):
    def __init__(self):
        super().__init__("drive")
        self.near = Future()
        self.subscription = self.create_subscription(Float64, "distance", self.steer, 10)

    def steer(self, message):
        print(f"{message.data} m ahead")
        if message.data <= 1.0:
            self.near.set_result(True)


def main():
    rclpy.init()
    sonar, drive = Sonar(), Drive()
    executor = SingleThreadedExecutor()
    executor.add_node(sonar)
    executor.add_node(drive)
    try:
        executor.spin_until_future_complete(drive.near)
    finally:
        sonar.destroy_node()
        drive.destroy_node()
        rclpy.try_shutdown()
    print("the wall is near")


if __name__ == "__main__":
    main()
