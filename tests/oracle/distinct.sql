-- DISTINCT and set operations.

SELECT DISTINCT status FROM orders

SELECT DISTINCT status FROM orders ORDER BY status

SELECT DISTINCT status FROM orders ORDER BY status DESC LIMIT 2

SELECT DISTINCT status, quantity FROM orders ORDER BY quantity NULLS FIRST, status LIMIT 10 OFFSET 3

SELECT DISTINCT quantity FROM orders ORDER BY quantity

SELECT DISTINCT active FROM customers ORDER BY active

SELECT DISTINCT tenant_id FROM orders ORDER BY tenant_id

SELECT DISTINCT tenant_id, status FROM orders WHERE total > 800 ORDER BY 1, 2

SELECT DISTINCT name FROM customers

SELECT DISTINCT score FROM customers ORDER BY score

SELECT DISTINCT discount FROM orders

SELECT DISTINCT country FROM customers

SELECT DISTINCT v FROM sparse

SELECT DISTINCT v FROM void

SELECT DISTINCT count(*) FROM orders

SELECT DISTINCT count(*) FROM orders GROUP BY tenant_id ORDER BY 1

SELECT DISTINCT ON (status) status, id FROM orders ORDER BY status, id

SELECT DISTINCT ON (tenant_id) tenant_id, id, total FROM orders ORDER BY tenant_id, id DESC

SELECT DISTINCT id % 2 FROM orders ORDER BY 1

SELECT DISTINCT 1 FROM orders

SELECT DISTINCT * FROM sparse

SELECT ALL plan FROM tenants ORDER BY id

-- error: 42P10
SELECT DISTINCT status FROM orders ORDER BY id

SELECT id FROM tenants WHERE id < 4 UNION ALL SELECT id FROM tenants WHERE id < 3

SELECT id FROM tenants WHERE id < 4 UNION SELECT id FROM tenants WHERE id < 6 ORDER BY id

SELECT id FROM tenants WHERE id = 5 UNION ALL SELECT id FROM tenants WHERE id = 5

SELECT id FROM tenants WHERE id = 5 UNION SELECT id FROM tenants WHERE id = 6 ORDER BY 1

SELECT id FROM orders WHERE tenant_id = 8 UNION SELECT id FROM customers WHERE tenant_id = 8 ORDER BY 1

SELECT id FROM tenants INTERSECT SELECT id FROM products ORDER BY id

SELECT id FROM products EXCEPT SELECT id FROM tenants ORDER BY id

SELECT id FROM products UNION ALL SELECT id FROM tenants ORDER BY id LIMIT 8

SELECT tenant_id FROM orders INTERSECT SELECT tenant_id FROM customers ORDER BY 1

SELECT tenant_id, id FROM orders EXCEPT SELECT tenant_id, order_id FROM order_items ORDER BY 1, 2 LIMIT 10

(SELECT id FROM tenants ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM tenants ORDER BY id DESC LIMIT 2) ORDER BY id

SELECT 1 UNION SELECT 2 ORDER BY 1

VALUES (1, 'a'), (2, NULL)

-- error: 42601
SELECT id FROM tenants UNION SELECT id, name FROM tenants
