-- What people type to look around. OIDs are not shown by any of it.
\set QUIET on
\pset pager off
\d
\d+ orders
\d customers
\d products
\d notes
\d unpaid
\dt
\dt public.*
\di
\dv
\dv+
\ds
\dT
\dT+ size
\df
\df+ vat
\sf vat
\sv unpaid
\dn public
\dn+ stock
\d stock.places
\d+ events
\dt events*
\dm stock.*
\sf stock.shout
\du app
\dg app
\dp orders
\ddp
\dx
\dd
\dD
\des
\dew
\dF
\dL
\do =
\dO
\dp
\dRp
\dRs
\dy
\dX
\dconfig work_mem
\dC text
\dc koi8_r*
\da sum
\dA
\db
\encoding
\z notes
\dPtn
