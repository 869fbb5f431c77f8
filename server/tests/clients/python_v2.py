"""PyPI's influxdb-client: writes by /api/v2/write, batched and one by one."""

import sys

from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.client.write_api import SYNCHRONOUS

url = f"http://127.0.0.1:{sys.argv[1]}"
with InfluxDBClient(url=url, token="any", org="any") as client:
    if not client.ping():
        raise SystemExit("no ping")
    if client.health().status != "pass":
        raise SystemExit("not healthy")
    point = (
        Point("boiler room")
        .tag("unit, no", "7 a")
        .field("temperature", 21.5)
        .field("count", -5)
        .field("on", True)
        .field("label", 'say "hi"\\n')
        .field("total", 9)
        .time(1600000000000000001)
    )
    client.write_api(write_options=SYNCHRONOUS).write(bucket="plant", record=point)
    with client.write_api(write_options=WriteOptions(batch_size=300, flush_interval=100)) as api:
        for index in range(2000):
            api.write(bucket="plant/autogen", record=f"many,k={index % 7} v={index}i {index}")
print("written")
