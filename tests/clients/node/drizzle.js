// Drizzle over node-postgres: selects, relations, inserts with upserts, transactions, prepared queries, migrations.
'use strict';

const { drizzle } = require('drizzle-orm/node-postgres');
const { migrate } = require('drizzle-orm/node-postgres/migrator');
const { and, asc, avg, count, desc, eq, gt, inArray, relations, sql, sum } = require('drizzle-orm');
const { boolean, date, foreignKey, integer, jsonb, numeric, pgTable, primaryKey, serial, text, timestamp, uuid, varchar } = require('drizzle-orm/pg-core');
const fs = require('node:fs');
const { Pool } = require('pg');
const { say, refused } = require('./told.js');

const customers = pgTable('customers', {
  tenantId: integer('tenant_id').notNull(),
  id: integer('id').notNull(),
  name: varchar('name', { length: 40 }).notNull(),
  joined: date('joined').notNull().default('2026-01-01'),
}, (t) => [primaryKey({ columns: [t.tenantId, t.id] })]);
const orders = pgTable('orders', {
  tenantId: integer('tenant_id').notNull(),
  id: integer('id').notNull(),
  customerId: integer('customer_id').notNull(),
  total: numeric('total', { precision: 12, scale: 2 }).notNull().default('0'),
  paid: boolean('paid').notNull().default(false),
  placed: timestamp('placed', { withTimezone: true }).notNull().defaultNow(),
  tags: text('tags').array(),
  note: jsonb('note'),
  token: uuid('token'),
}, (t) => [primaryKey({ columns: [t.tenantId, t.id] }), foreignKey({ columns: [t.tenantId, t.customerId], foreignColumns: [customers.tenantId, customers.id] })]);
const notes = pgTable('notes', { id: serial('id').primaryKey(), body: text('body') });
const customerRelations = relations(customers, ({ many }) => ({ orders: many(orders) }));
const orderRelations = relations(orders, ({ one }) => ({ customer: one(customers, { fields: [orders.tenantId, orders.customerId], references: [customers.tenantId, customers.id] }) }));

// As drizzle-kit writes it.
function migration() {
  fs.mkdirSync('drizzle/meta', { recursive: true });
  fs.writeFileSync('drizzle/0000_first.sql', 'CREATE TABLE "entries" (\n\t"tenant_id" integer NOT NULL,\n\t"id" serial NOT NULL,\n\t"amount" integer,\n\tCONSTRAINT "entries_pk" PRIMARY KEY("tenant_id","id")\n);\n--> statement-breakpoint\nCREATE INDEX "entries_amount" ON "entries" USING btree ("amount");');
  const entry = { idx: 0, version: '7', when: 1767225600000, tag: '0000_first', breakpoints: true };
  fs.writeFileSync('drizzle/meta/_journal.json', JSON.stringify({ version: '7', dialect: 'postgresql', entries: [entry] }));
}

async function main() {
  const pool = new Pool({ max: 3 });
  const db = drizzle(pool, { schema: { customers, orders, notes, customerRelations, orderRelations } });
  migration();
  await migrate(db, { migrationsFolder: 'drizzle' });
  await migrate(db, { migrationsFolder: 'drizzle' });
  await db.execute(sql`INSERT INTO entries (tenant_id, amount) SELECT t, t * 10 FROM generate_series(1, 8) t`);
  say('migrated', (await db.execute(sql`SELECT count(*), count(DISTINCT id), sum(amount) FROM entries`)).rows, (await db.execute(sql`SELECT count(*) FROM drizzle.__drizzle_migrations`)).rows);

  say('one', await db.select().from(orders).where(and(eq(orders.tenantId, 7), eq(orders.id, 3))));
  say('joined', await db.select({ name: customers.name, n: count(), s: sum(orders.total), a: avg(orders.total) }).from(customers)
    .innerJoin(orders, and(eq(orders.tenantId, customers.tenantId), eq(orders.customerId, customers.id))).groupBy(customers.name).orderBy(desc(sum(orders.total)), asc(customers.name)).limit(4));
  say('relations', await db.query.customers.findMany({ where: eq(customers.tenantId, 4), orderBy: [asc(customers.id)], with: { orders: { columns: { id: true, total: true }, orderBy: [asc(orders.id)] } } }));
  say('first', await db.query.orders.findFirst({ where: and(eq(orders.tenantId, 2), eq(orders.id, 5)), with: { customer: true } }));
  say('inserted', await db.insert(customers).values([1, 2, 3, 4].map((t) => ({ tenantId: t, id: 50, name: `drizzle ${t}` }))).returning().then((rows) => rows.sort((a, b) => a.tenantId - b.tenantId)));
  await db.insert(customers).values([1, 2].map((t) => ({ tenantId: t, id: 50, name: 'again' }))).onConflictDoUpdate({ target: [customers.tenantId, customers.id], set: { name: sql`excluded.name` } });
  await db.insert(customers).values({ tenantId: 3, id: 50, name: 'nothing' }).onConflictDoNothing();
  say('upserted', await db.select({ t: customers.tenantId, name: customers.name }).from(customers).where(eq(customers.id, 50)).orderBy(customers.tenantId));
  say('serial', await db.insert(notes).values({ body: 'drizzle' }).returning());
  say('updated', (await db.update(orders).set({ paid: true }).where(inArray(orders.tenantId, [1, 2, 3]))).rowCount);
  await db.transaction(async (tx) => {
    await tx.update(customers).set({ name: 'in a transaction' }).where(eq(customers.id, 50));
    await tx.transaction(async (inner) => {
      await inner.delete(customers).where(eq(customers.id, 50));
      inner.rollback();
    }).catch((error) => say('inner', error.constructor.name));
  }, { isolationLevel: 'repeatable read' });
  say('committed', await db.select({ n: count() }).from(customers).where(eq(customers.name, 'in a transaction')));
  const prepared = db.select({ n: count() }).from(orders).where(and(eq(orders.tenantId, sql.placeholder('t')), gt(orders.total, sql.placeholder('least')))).prepare('of_tenant');
  for (let t = 1; t <= 6; t++) say('prepared', await prepared.execute({ t, least: '100' }));
  await refused('unique', () => db.insert(customers).values({ tenantId: 1, id: 1, name: 'x' }).catch((error) => Promise.reject(error.cause ?? error)));
  say('deleted', (await db.delete(customers).where(eq(customers.id, 50))).rowCount);
  await pool.end();
  console.log('END');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
