// Prisma 7, whose query compiler is WebAssembly, over node-postgres: reads with relations, groups, writes of many rows, nested writes,
// upserts, transactions of both kinds, raw queries, and errors.
const { PrismaClient, Prisma } = require('@prisma/client');
const { PrismaPg } = require('@prisma/adapter-pg');

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.CLIENT_URL }) });
const show = (what, value) => console.log(what, JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));
const refused = async (what, promise) => {
  const error = await promise.then(() => { throw new Error(`${what} was let pass`); }, (error) => error);
  show(what, [error.code, error.meta && error.meta.modelName]);
};

async function reads() {
  show('one', await prisma.customer.findUnique({ where: { tenantId_id: { tenantId: 7, id: 1 } } }));
  show('none', await prisma.customer.findUnique({ where: { tenantId_id: { tenantId: 99, id: 1 } } }));
  show('with', await prisma.customer.findFirst({
    where: { tenantId: 5, id: 2 },
    include: { orders: { orderBy: { id: 'asc' }, select: { id: true, total: true, paid: true, tags: true, note: true } } },
  }));
  show('many', await prisma.order.findMany({
    where: { tenantId: { in: [1, 5, 9] }, paid: true, total: { gt: 50 } },
    orderBy: [{ tenantId: 'desc' }, { id: 'asc' }],
    skip: 1,
    take: 4,
    select: { tenantId: true, id: true, customer: { select: { name: true } } },
  }));
  show('groups', await prisma.order.groupBy({ by: ['tenantId'], _count: true, _sum: { total: true }, orderBy: { tenantId: 'asc' }, take: 5 }));
  show('all', await prisma.order.aggregate({ _count: true, _max: { total: true }, _min: { id: true }, where: { paid: false } }));
  show('some', await prisma.customer.count({ where: { orders: { some: { total: { gt: 300 } } } } }));
}

async function writes() {
  const data = Array.from({ length: 12 }, (_, tenant) => ({ tenantId: tenant + 1, id: 80, name: `of ${tenant + 1}` }));
  show('created', await prisma.customer.createMany({ data }));
  show('skipped', await prisma.customer.createMany({ data, skipDuplicates: true }));
  show('nested', await prisma.customer.create({
    data: { tenantId: 7, id: 81, name: 'Ada', orders: { create: [{ id: 800, total: '12.50', tags: ['a', 'b'], note: { n: 1 } }, { id: 801 }] } },
    include: { orders: { orderBy: { id: 'asc' }, select: { id: true, total: true, tags: true, note: true } } },
  }));
  for (const name of ['first', 'second']) {
    show('upserted', await prisma.customer.upsert({
      where: { tenantId_id: { tenantId: 3, id: 82 } }, create: { tenantId: 3, id: 82, name }, update: { name },
    }));
  }
  show('changed', await prisma.customer.updateMany({ where: { id: 80, tenantId: { lt: 4 } }, data: { name: 'changed' } }));
  show('one changed', await prisma.order.update({ where: { tenantId_id: { tenantId: 7, id: 800 } }, data: { total: { increment: 2 } }, select: { total: true } }));
  await refused('twice', prisma.customer.create({ data: { tenantId: 7, id: 80, name: 'twice' } }));
  await refused('of nobody', prisma.order.create({ data: { tenantId: 7, id: 802, customerId: 999 } }));
  await refused('not there', prisma.customer.delete({ where: { tenantId_id: { tenantId: 99, id: 1 } } }));
  show('deleted', await prisma.order.deleteMany({ where: { id: { gte: 800 } } }));
}

async function transactions() {
  show('batch', await prisma.$transaction([
    prisma.customer.updateMany({ where: { id: 80 }, data: { name: 'batch' } }),
    prisma.customer.count({ where: { name: 'batch' } }),
  ]));
  const inside = prisma.$transaction(async (tx) => {
    await tx.customer.deleteMany({ where: { id: 80 } });
    show('left inside', await tx.customer.count({ where: { id: 80 } }));
    throw new Error('enough');
  }, { timeout: 60000, maxWait: 60000 });
  await inside.catch((error) => show('undone', error.message));
  show('left outside', await prisma.customer.count({ where: { id: 80 } }));
  show('serializable', await prisma.$transaction((tx) => tx.customer.count(), { isolationLevel: Prisma.TransactionIsolationLevel.RepeatableRead, timeout: 60000, maxWait: 60000 }));
}

async function raw() {
  show('raw', await prisma.$queryRaw`SELECT tenant_id, count(*) FROM orders WHERE tenant_id < ${4} GROUP BY 1 ORDER BY 1`);
  show('run', await prisma.$executeRaw`UPDATE customers SET name = ${'raw'} WHERE id = ${80}`);
}

async function main() {
  await reads();
  await writes();
  await transactions();
  await raw();
  await prisma.$disconnect();
  console.log('END');
}

main().catch((error) => { console.error(error); process.exit(1); });
