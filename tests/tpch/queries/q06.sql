-- What leaving some discounts out would have earned.
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= date '1994-01-01'
  AND l_shipdate < date '1994-01-01' + interval '1' year
  AND l_discount BETWEEN 0.06 - 0.01 AND 0.06 + 0.01
  AND l_quantity < 24

-- The same with parameters.
-- params: '1995-01-01', 0.04, 25
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= $1::date
  AND l_shipdate < $1::date + interval '1' year
  AND l_discount BETWEEN $2::numeric - 0.01 AND $2::numeric + 0.01
  AND l_quantity < $3::numeric
