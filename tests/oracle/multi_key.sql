-- Tables by uuid, text, range and list together with the shop's.

SELECT kind, count(*) FROM events WHERE at > '2024-05-02 00:00+00' GROUP BY kind ORDER BY kind

SELECT e.device, count(*) FROM events e JOIN events f ON f.device = e.device AND f.seq = e.seq + 25 GROUP BY e.device ORDER BY 1

SELECT a.key, b.key FROM kv a JOIN kv b ON a.key = b.key WHERE a.version = 3 ORDER BY a.key COLLATE "C" LIMIT 5

SELECT m.day, m.value FROM metrics m JOIN metrics n USING (day) WHERE m.series = 0 AND n.series = 1 AND m.value > n.value ORDER BY 1 LIMIT 10

SELECT m.day, r.amount FROM metrics m JOIN region_stats r ON r.year = extract(year FROM m.day) WHERE m.day = '2024-01-05' AND r.region = 'eu' ORDER BY m.series

SELECT region, year, amount FROM region_stats ORDER BY amount DESC NULLS LAST, region COLLATE "C", year LIMIT 10

SELECT region, count(*) FROM region_stats WHERE region <> 'eu' GROUP BY region ORDER BY region COLLATE "C"

SELECT count(*), sum(version) FROM kv WHERE key IN ('key11', 'key12', 'key13', 'nothing')

SELECT sum(value), sum(ratio), avg(ratio) FROM metrics WHERE day >= '2024-01-15' AND day < '2024-02-20'

SELECT day FROM metrics GROUP BY day HAVING count(*) > 2 ORDER BY day LIMIT 10

SELECT seq, payload FROM events WHERE payload IS NOT NULL ORDER BY seq LIMIT 10

SELECT seq, payload->>'i' FROM events WHERE (payload->>'i')::int > 290 ORDER BY seq
