-- Ranges of keys, under range maps and under hash.

SELECT day, series, value FROM metrics WHERE day BETWEEN '2024-01-01' AND '2024-01-10' ORDER BY day, series

SELECT count(*) FROM metrics WHERE day >= '2024-01-01'

SELECT count(*) FROM metrics WHERE day > '2023-12-31' AND day <= '2024-01-31'

SELECT count(*) FROM metrics WHERE day < '2024-01-01' OR day > '2024-03-10'

SELECT count(*) FROM metrics WHERE '2024-01-15' > day

SELECT count(*) FROM metrics WHERE day BETWEEN SYMMETRIC '2024-02-10' AND '2024-01-10'

SELECT count(*) FROM metrics WHERE day BETWEEN '2024-02-10' AND '2024-01-10'

SELECT count(*) FROM metrics WHERE day NOT BETWEEN '2024-01-10' AND '2024-02-10'

SELECT count(*) FROM metrics WHERE day < 'infinity'

SELECT count(*) FROM metrics WHERE day > '-infinity' AND day < '2023-12-20'

SELECT count(*) FROM metrics WHERE day > '2025-01-01'

SELECT count(*) FROM metrics WHERE day < '2024-01-01 12:00'::timestamp

SELECT count(*) FROM metrics WHERE day >= '2024-01-10'::date - 5 AND day < '2024-01-10'::date

SELECT count(*) FROM metrics WHERE NOT (day < '2024-01-10')

SELECT count(*) FROM metrics WHERE day < NULL

-- params: '2024-01-03', '2024-02-03'
SELECT day, value FROM metrics WHERE day >= $1 AND day < $2 AND series = 1 ORDER BY day

-- params: '2024-01-03', '2024-01-03'
SELECT day, value FROM metrics WHERE day BETWEEN $1 AND $2 ORDER BY value NULLS FIRST, series

SELECT day, series FROM metrics WHERE day >= '2023-12-30' ORDER BY day, series LIMIT 10

SELECT day, series FROM metrics WHERE day <= '2024-03-01' ORDER BY day DESC, series DESC LIMIT 10 OFFSET 5

SELECT max(day), min(day) FROM metrics

SELECT date_trunc('month', day), count(*) FROM metrics WHERE day < '2024-02-15' GROUP BY 1 ORDER BY 1

SELECT id FROM tenants WHERE id BETWEEN 5 AND 9 ORDER BY id

SELECT id FROM tenants WHERE id > 35 AND id < 100 ORDER BY id DESC

SELECT id FROM tenants WHERE id >= 3 AND id <= 3

SELECT id FROM tenants WHERE id > 3 AND id < 5

SELECT key FROM kv WHERE key > 'key90' AND key < 'key99' ORDER BY version, key COLLATE "C"

SELECT count(*) FROM metrics WHERE (day, series) > ('2024-01-10', 1)

SELECT count(*) FROM metrics WHERE day > '2024-01-10' AND day = '2024-01-05'

SELECT count(*) FROM metrics WHERE day = '2024-01-12' AND day BETWEEN '2024-01-10' AND '2024-01-20'
