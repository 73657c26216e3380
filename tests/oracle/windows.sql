-- Window functions.

SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) FROM orders WHERE tenant_id IN (8, 22) ORDER BY 1, 2

SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) AS n FROM orders ORDER BY 1, 2 LIMIT 20

SELECT id, row_number() OVER (ORDER BY id) FROM tenants ORDER BY id

SELECT id, sum(seats) OVER (ORDER BY id) FROM tenants ORDER BY id

SELECT id, count(*) OVER () FROM tenants ORDER BY id LIMIT 3

SELECT status, id, lag(id) OVER w FROM orders WINDOW w AS (PARTITION BY status ORDER BY id) ORDER BY id LIMIT 12

SELECT id, rank() OVER (PARTITION BY plan ORDER BY seats DESC NULLS LAST, id) FROM tenants ORDER BY id

SELECT * FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY total DESC NULLS LAST, id) AS n FROM orders) s WHERE n = 1 ORDER BY tenant_id

SELECT id, ntile(4) OVER (ORDER BY id) FROM tenants WHERE id = 5

-- error: 42P20
SELECT id FROM tenants WHERE row_number() OVER () = 1
