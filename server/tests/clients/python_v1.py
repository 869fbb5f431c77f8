"""PyPI's influxdb: all types there and back, by lines and by dictionaries."""

import sys

from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError

client = InfluxDBClient("127.0.0.1", int(sys.argv[1]), database="school")
passed = 0


def check(found, expected):
    global passed
    if found != expected:
        raise SystemExit(f"found {found!r}, expected {expected!r}")
    passed += 1


check(bool(client.ping()), True)
client.create_database("school")
client.create_database("other")
names = sorted(entry["name"] for entry in client.get_list_database())
check(names, ["other", "school"])
check(client.get_list_retention_policies("school")[0]["name"], "autogen")
point = {
    "measurement": "class room",
    "tags": {"floor": "1", "wing, old": "a=b"},
    "time": "2020-09-13T12:26:40.000001Z",
    "fields": {"f": -0.25, "i": 9007199254740993, "b": False, "s": 'a "quoted" \\ text', "big": 1e300},
}
check(client.write_points([point]), True)
rows = list(client.query('SELECT * FROM "class room"', epoch="ns").get_points())
check(len(rows), 1)
expected = dict(point["fields"], time=1600000000000001000, floor="1", **{"wing, old": "a=b"})
check(rows[0], expected)
text = list(client.query('SELECT f FROM "class room"').get_points())[0]["time"]
check(text, "2020-09-13T12:26:40.000001Z")
client.write_points(["m,t=x v=1i 10", "m,t=y v=2i 20"], protocol="line", time_precision="s")
result = client.query("SELECT sum(v) FROM m GROUP BY t", epoch="s")
check([(key[1]["t"], next(points)["sum"]) for key, points in result.items()], [("x", 1), ("y", 2)])
bound = client.query("SELECT v FROM m WHERE t = $t", bind_params={"t": "y"}, epoch="s")
check(list(bound.get_points()), [{"time": 20, "v": 2}])
pieces = client.query("SELECT v FROM m", chunked=True, chunk_size=1, epoch="s")
check(sum(len(list(piece.get_points())) for piece in pieces), 2)
try:
    client.write_points(["m,t=x v=\"text\" 10"], protocol="line")
except InfluxDBClientError as error:
    check((error.code, "field type conflict" in str(error)), (400, True))
client.drop_database("other")
check([entry["name"] for entry in client.get_list_database()], ["school"])
print(f"all {passed} checks passed")
