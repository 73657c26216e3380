// What the programs here share: they print what they get, in an order that is always the same.
'use strict';

function say(label, ...values) {
  console.log(label + ':', ...values.map((value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))));
}

// Runs what must fail, and prints the fields of the error.
async function refused(label, act) {
  try {
    await act();
  } catch (error) {
    say(label, error.code, error.message, error.detail, error.constraint, error.table, error.position);
    return;
  }
  throw new Error(`${label}: no error`);
}

module.exports = { say, refused };
