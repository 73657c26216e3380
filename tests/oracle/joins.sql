-- Joins of co-located tables, with reference tables, and those that cross shards.

SELECT o.id, c.name FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE o.tenant_id = 8 ORDER BY o.id

SELECT o.id, c.name FROM orders o JOIN customers c USING (tenant_id) WHERE tenant_id = 8 AND c.id = o.customer_id ORDER BY o.id

SELECT o.id, c.name FROM orders o, customers c WHERE o.tenant_id = c.tenant_id AND c.id = o.customer_id AND c.tenant_id = 22 ORDER BY o.id

SELECT t.name, count(c.id) FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id WHERE t.id = 8 GROUP BY t.name

SELECT t.id, c.id FROM tenants t JOIN customers c ON c.tenant_id = t.id ORDER BY 1, 2 LIMIT 20

SELECT t.id, o.id, i.line FROM tenants t JOIN orders o ON o.tenant_id = t.id JOIN order_items i ON i.tenant_id = o.tenant_id AND i.order_id = o.id WHERE o.status = 'paid' ORDER BY 1, 2, 3 LIMIT 25

SELECT count(*) FROM orders o JOIN order_items i ON (i.tenant_id, i.order_id) = (o.tenant_id, o.id)

SELECT count(*) FROM orders NATURAL JOIN sparse

SELECT i.tenant_id, i.order_id, p.name FROM order_items i JOIN products p ON p.id = i.product_id WHERE i.tenant_id = 1 ORDER BY 1, 2, i.line LIMIT 10

SELECT i.tenant_id, i.order_id, i.line, p.sku FROM order_items i JOIN products p ON p.id = i.product_id WHERE p.price > 50 ORDER BY 1, 2, 3 LIMIT 30

SELECT p.sku, sum(i.quantity), count(*) FROM order_items i JOIN products p ON p.id = i.product_id GROUP BY p.sku ORDER BY p.sku LIMIT 20

SELECT i.tenant_id, i.order_id, i.line, p.sku FROM order_items i LEFT JOIN products p ON p.id = i.product_id ORDER BY 1, 2, 3 LIMIT 40

SELECT p.id, i.order_id FROM products p LEFT JOIN order_items i ON i.product_id = p.id AND i.tenant_id = 8 ORDER BY 1, 2 NULLS FIRST

SELECT p.id, count(i.order_id) FROM products p LEFT JOIN order_items i ON i.product_id = p.id GROUP BY p.id ORDER BY p.id

SELECT i.product_id, p.id FROM order_items i RIGHT JOIN products p ON p.id = i.product_id WHERE i.tenant_id IS NULL ORDER BY 2

SELECT count(*) FROM order_items i FULL JOIN products p ON p.id = i.product_id

SELECT c.id, k.name FROM customers c JOIN countries k ON k.code = c.country WHERE c.tenant_id = 1 AND c.id < 60 ORDER BY c.id

SELECT k.name, count(*) FROM customers c JOIN countries k ON k.code = c.country GROUP BY k.name ORDER BY count(*) DESC, k.name COLLATE "C"

SELECT a.id, b.id FROM orders a JOIN orders b ON a.tenant_id = b.tenant_id AND a.id = b.id - 1 WHERE a.tenant_id = 1 ORDER BY 1

SELECT a.id, b.id FROM tenants a JOIN tenants b ON a.id = b.id + 1 ORDER BY 1 LIMIT 5

SELECT a.id, b.id FROM tenants a JOIN tenants b ON a.id = b.id + 1 WHERE a.id = 5

SELECT a.id, b.id FROM tenants a CROSS JOIN tenants b WHERE a.id = 5 AND b.id = 6

SELECT a.id, b.id FROM tenants a CROSS JOIN tenants b WHERE a.id = 5 AND b.id = 5

SELECT c.id, s.value FROM customers c CROSS JOIN settings s WHERE c.tenant_id = 8 ORDER BY 1, 2 NULLS FIRST

SELECT p.sku, s.value FROM products p CROSS JOIN settings s WHERE p.id < 3 ORDER BY 1, s.name

SELECT p.sku, k.name FROM products p CROSS JOIN countries k WHERE p.id < 3 ORDER BY 1, k.code

SELECT o.id, e.seq FROM orders o JOIN events e ON e.seq = o.id WHERE o.tenant_id = 1 ORDER BY 1

SELECT o.id, v.x FROM orders o JOIN (VALUES (1, 'a'), (2, 'b')) AS v (q, x) ON v.q = o.quantity WHERE o.tenant_id = 8 ORDER BY 1

SELECT o.tenant_id, o.id, v.x FROM orders o JOIN (VALUES (1, 'a'), (2, 'b')) AS v (q, x) ON v.q = o.quantity ORDER BY 1, 2 LIMIT 15

SELECT t.id, g FROM tenants t, generate_series(1, 2) g WHERE t.id < 4 ORDER BY 1, 2

SELECT c.id, tag FROM customers c, unnest(c.tags) AS tag WHERE c.tenant_id = 8 ORDER BY 1, 2 NULLS LAST

SELECT c.tenant_id, c.id, l.n FROM customers c CROSS JOIN LATERAL (SELECT count(*) AS n FROM orders o WHERE o.tenant_id = c.tenant_id AND o.customer_id = c.id) l WHERE l.n > 2 ORDER BY 1, 2 LIMIT 10

SELECT t.id, x.id FROM tenants t LEFT JOIN LATERAL (SELECT id FROM orders o WHERE o.tenant_id = t.id ORDER BY id DESC LIMIT 2) x ON true ORDER BY 1, 2 LIMIT 30

SELECT t.id, s.v FROM tenants t LEFT JOIN sparse s ON s.tenant_id = t.id WHERE t.id < 6 ORDER BY 1, s.id

SELECT s.v, v.id FROM sparse s LEFT JOIN void v ON v.tenant_id = s.tenant_id ORDER BY s.id

SELECT count(*) FROM void v JOIN tenants t ON t.id = v.tenant_id
