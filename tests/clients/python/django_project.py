"""Django: makemigrations and migrate with its own apps (auth, contenttypes, sessions), a sharded model, the ORM, a test of its own, inspectdb."""

import os
import subprocess
import sys
import textwrap

from told import end, say

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "ledger"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{database}", "USER": "app", "HOST": "127.0.0.1", "PORT": {port},
                           "OPTIONS": {{"server_side_binding": True}}}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
MODELS = """
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models
class Account(models.Model):
    pk = models.CompositePrimaryKey("tenant_id", "id")
    tenant_id = models.IntegerField()
    id = models.IntegerField()
    name = models.CharField(max_length=50, db_index=True)
    opened = models.DateTimeField(null=True)
    tags = ArrayField(models.TextField(), default=list)
    data = models.JSONField(default=dict)
class Setting(models.Model):
    key = models.SlugField(unique=True)
    owner = models.ForeignKey(User, models.CASCADE, null=True)
"""
LATER = """
class Entry(models.Model):
    pk = models.CompositePrimaryKey("tenant_id", "id")
    tenant_id = models.IntegerField()
    id = models.UUIDField()
    account_id = models.IntegerField()
    amount = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    class Meta:
        indexes = [models.Index(fields=["tenant_id", "account_id"], name="entry_account")]
        constraints = [models.CheckConstraint(condition=models.Q(amount__gte=0), name="entry_amount")]
Account.add_to_class("closed", models.BooleanField(default=False))
"""


def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as file:
        file.write(textwrap.dedent(text))


def manage(*arguments):
    done = subprocess.run([sys.executable, "-m", "django", *arguments], capture_output=True, text=True,
                          env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": os.getcwd()})
    if done.returncode:
        sys.exit(f"django {arguments}\n{done.stdout}\n{done.stderr}")
    return done.stdout.splitlines()


write("settings.py", SETTINGS.format(database=os.environ["PGDATABASE"], port=os.environ["PGPORT"]))
write("ledger/__init__.py", "")
write("ledger/models.py", MODELS)
say("first", manage("makemigrations", "ledger"))
say("migrate", manage("migrate"))
write("ledger/models.py", MODELS + LATER)
say("second", manage("makemigrations", "ledger", "-n", "second"))
say("migrate", manage("migrate"))
say("no changes", manage("makemigrations", "--check", "--dry-run"))
say("back", manage("migrate", "ledger", "0001"))
say("forth", manage("migrate", "ledger"))
say("inspected", manage("inspectdb", "ledger_account", "ledger_setting", "auth_user"))

sys.path.insert(0, os.getcwd())
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django

django.setup()
import decimal
import uuid
from datetime import datetime, timezone

from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError, connection, transaction
from django.db.models import Avg, Count, Exists, F, OuterRef, Q, Subquery, Sum, Window
from django.db.models.functions import Rank, Upper
from ledger.models import Account, Entry, Setting

user = User.objects.create_user("ada", password="x")
user.groups.add(Group.objects.create(name="staff"))
say("auth", User.objects.filter(groups__name="staff").count(), Permission.objects.count(), user.check_password("x"))
say("setting", Setting.objects.create(key="a", owner=user).owner.username, Setting.objects.select_related("owner").get(key="a").owner.username)
opened = datetime(2026, 5, 6, 7, 8, 9, 12, tzinfo=timezone.utc)
Account.objects.bulk_create([Account(tenant_id=t, id=i, name=f"account {t}.{i}", opened=opened, tags=["x", str(i)], data={"n": i}) for t in range(1, 9) for i in range(3)])
Entry.objects.bulk_create([Entry(tenant_id=t, id=uuid.UUID(int=t * 100 + n), account_id=n % 3, amount=decimal.Decimal(n)) for t in range(1, 9) for n in range(6)])
say("get", Account.objects.get(pk=(7, 1)).name, Account.objects.get(tenant_id=7, id=1).opened)
say("filter", list(Account.objects.filter(tenant_id__in=[1, 2, 3], tags__contains=["2"]).order_by("tenant_id").values_list("name", flat=True)))
say("json", Account.objects.filter(data__n=1).count())
say("aggregate", Entry.objects.aggregate(Sum("amount"), Avg("amount"), n=Count("*")))
say("groups", list(Entry.objects.values("tenant_id").annotate(n=Count("*"), s=Sum("amount")).filter(s__gt=1).order_by("-s", "tenant_id")[:3]))
largest = Entry.objects.filter(tenant_id=OuterRef("tenant_id"), account_id=OuterRef("id")).order_by("-amount").values("amount")[:1]
say("subquery", list(Account.objects.annotate(most=Subquery(largest)).filter(most__isnull=False).order_by("tenant_id", "id").values_list("tenant_id", "id", "most")[:5]))
say("exists", Account.objects.filter(Exists(Entry.objects.filter(tenant_id=OuterRef("tenant_id"), account_id=OuterRef("id"), amount__gt=4))).count())
say("window", list(Entry.objects.filter(tenant_id=2).annotate(place=Window(Rank(), order_by=F("amount").desc())).order_by("place").values_list("place", "amount")))
say("update", Account.objects.filter(Q(id=1) | Q(id=2)).update(name=Upper("name")), Account.objects.filter(name__startswith="ACCOUNT").count())
say("update_or_create", Account.objects.update_or_create(tenant_id=3, id=9, defaults={"name": "made"})[1], Account.objects.update_or_create(tenant_id=3, id=9, defaults={"name": "changed"})[1])
say("upsert", len(Account.objects.bulk_create([Account(tenant_id=t, id=1, name="upserted") for t in range(1, 4)], update_conflicts=True, unique_fields=["tenant_id", "id"], update_fields=["name"])))
account = Account.objects.get(pk=(2, 1))
account.name = "saved"
account.save()
say("saved", Account.objects.get(pk=(2, 1)).name)
changed = [Account.objects.get(pk=(t, 0)) for t in range(1, 5)]
for one in changed:
    one.closed = True
say("bulk_update", Account.objects.bulk_update(changed, ["closed"]), Account.objects.filter(closed=True).count())
with transaction.atomic():
    locked = list(Account.objects.select_for_update().filter(tenant_id=4).order_by("id"))
    say("locked", [a.id for a in locked])
    try:
        with transaction.atomic():
            Account.objects.create(tenant_id=5, id=1, name="again")
    except IntegrityError as error:
        say("integrity", str(error).splitlines()[0])
    Setting.objects.create(key="kept")
try:
    with transaction.atomic():
        Entry.objects.filter(tenant_id__lt=5).delete()
        Entry.objects.create(tenant_id=6, id=uuid.UUID(int=9), account_id=1, amount=-1)
except IntegrityError as error:
    say("check", str(error).splitlines()[0])
say("undone", Entry.objects.count(), Setting.objects.count())
say("iterator", sum(1 for _ in Entry.objects.order_by("tenant_id", "id").iterator(chunk_size=7)))
say("distinct", list(Account.objects.order_by("tenant_id").values_list("tenant_id", flat=True).distinct()))
say("in bulk", sorted(Setting.objects.in_bulk(field_name="key")))
say("union", Account.objects.filter(tenant_id=1).union(Account.objects.filter(tenant_id=2)).count())
say("deleted", Entry.objects.filter(amount__gt=3).delete(), Account.objects.filter(tenant_id=8).delete())
with connection.cursor() as cursor:
    cursor.execute("SELECT tenant_id, count(*) FROM ledger_entry GROUP BY tenant_id ORDER BY 1")
    say("raw", cursor.fetchall())
say("introspection", sorted(n for n in connection.introspection.table_names() if n.startswith(("ledger", "auth", "django"))))
connection.close()
say("zero", manage("migrate", "ledger", "zero"))
end()
