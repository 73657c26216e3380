//! What an operator asks of it, and the files it is read from: RELOAD, SET, PAUSE, RESUME, SHUTDOWN.

use super::*;

/// Before a configuration is read again that had to wait for transactions.
const LATER: Duration = Duration::from_secs(5);

impl Live {
    async fn read_and_apply(&self) -> Result<Applied, Vec<String>> {
        let mut again = false;
        loop {
            match self.read_by_and_apply(again, |reading| reading.anew()).await {
                Err(errors) if errors == [OVERTAKEN] => again = true,
                done => return done,
            }
        }
    }

    /// `again`: nobody has asked for it anew, so that what was told is not told once more.
    async fn read_by_and_apply(
        &self,
        again: bool,
        read: impl FnOnce(&Reading) -> Result<Settings, ConfigErrors>,
    ) -> Result<Applied, Vec<String>> {
        let Some(reading) = self.reading.get().cloned() else {
            return Err(vec!["there is no file of which the configuration was read".to_owned()]);
        };
        let settings = read(&reading);
        let settings = settings.map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let before = {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *warned, settings.warnings.clone())
        };
        for warning in settings.warnings.iter().filter(|warning| !(again && before.contains(warning))) {
            tracing::warn!("{warning}");
        }
        self.apply(settings).await
    }

    /// Another value of one setting, beside those that were given before.
    async fn give(&self, key: &str, value: &str) -> Result<Applied, Fault> {
        let settings = self.settings();
        let shown = settings.shown.iter().find(|shown| shown.key == key).ok_or_else(|| {
            Fault::new(SqlState::UNDEFINED_OBJECT, format!("there is no setting \"{key}\""))
                .hint("SHOW CONFIG lists them.")
        })?;
        if AT_START.contains(&shown.key) {
            let message = format!("\"{key}\" cannot change while the router runs");
            return Err(Fault::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, message)
                .hint("Write it into the configuration file, and start the router anew."));
        }
        let mut said = Arc::clone(&self.said).lock_owned().await;
        let mut wanted = said.clone();
        wanted.insert(key.to_owned(), value.to_owned());
        let done = self.aside(async move |live| {
            let done = live.read_by_and_apply(false, |reading| reading.with(&wanted)).await;
            live.tell(&done);
            if done.is_ok() {
                *said = wanted;
            }
            done
        });
        let done = done.await.unwrap_or_else(|error| Err(vec![error]));
        done.map_err(|errors| {
            let message = format!("\"{key}\" cannot be set to \"{value}\"");
            Fault::new(SqlState::INVALID_PARAMETER_VALUE, message).detail(errors.join("\n")).blame(Blame::Router)
        })
    }

    /// Reads the configuration again and applies it, and tells the log and the metrics what came of it: on another thread.
    ///
    /// # Errors
    /// Why it was rejected, or cannot be read: the one of before is still in force.
    pub async fn reload_now(&self) -> Result<Applied, Vec<String>> {
        // Who waits for another one waits on no thread.
        let said = Arc::clone(&self.said).lock_owned().await;
        let done = self.aside(async move |live| live.reload_here(said).await);
        done.await.unwrap_or_else(|error| Err(vec![error]))
    }

    /// Other users in etcd, beside the configuration as it was read last. Tells the log and the metrics what came of it, unless they are
    /// rejected for what was told already: `known`.
    ///
    /// # Errors
    /// Why they were rejected: those of before are in force.
    pub async fn apply_users(&self, users: String, known: Option<&[String]>) -> Result<Applied, Vec<String>> {
        let known = known.map(<[String]>::to_vec);
        let said = Arc::clone(&self.said).lock_owned().await;
        let done = self.aside(async move |live| {
            let mut again = known.is_some();
            let done = loop {
                match live.read_by_and_apply(again, |reading| reading.with_users(&said, &users)).await {
                    Err(errors) if errors == [OVERTAKEN] => again = true,
                    done => break done,
                }
            };
            if let (Ok(_), Some(reading)) = (&done, live.reading.get()) {
                reading.took_users(users);
            }
            if known.is_none() || known.as_ref() != done.as_ref().err() {
                live.tell(&done);
            }
            done
        });
        done.await.unwrap_or_else(|error| Err(vec![error]))
    }

    async fn reload_here(&self, mut said: OwnedMutexGuard<Said>) -> Result<Applied, Vec<String>> {
        self.is_late.store(false, Ordering::Release);
        let done = self.read_and_apply().await;
        if done.is_ok() {
            said.clear();
        }
        let is_late = done.is_err() && self.is_late.load(Ordering::Acquire);
        self.note_map(&done, is_late);
        self.tell(&done);
        if is_late {
            tracing::info!("it is tried again in {LATER:?}");
            self.late.notify_one();
        }
        done
    }

    /// What came of a file in which the map stands.
    fn note_map(&self, done: &Result<Applied, Vec<String>>, is_late: bool) {
        let Some(reading) = self.reading.get().cloned() else { return };
        if done.is_ok() {
            reading.took();
        }
        let shared = Arc::clone(&self.front.load().shared);
        let Some(state) = shared.map.get().filter(|_| reading.map_file().is_some()) else { return };
        match done {
            Ok(_) => {
                state.update(|status| {
                    (status.source, status.differs, status.problem) = ("file", None, None);
                });
                note_kept(state, reading.keep());
            }
            Err(errors) => state.update(|status| {
                status.rejected += u64::from(!is_late);
                status.differs.get_or_insert_with(Instant::now);
                status.problem = Some(format!("not served: {}", errors.join("; ")).into());
            }),
        }
    }

    /// Reads a configuration again that could not be applied because transactions were open, for ever.
    pub(in crate::app) async fn follow_late(&self) {
        loop {
            self.late.notified().await;
            tokio::time::sleep(LATER).await;
            // Another one may have been applied meanwhile.
            if self.is_late.load(Ordering::Acquire) {
                tracing::info!("reading the configuration again: transactions were in the way of the last one");
                // What came of it is told there.
                let _ = self.reload_now().await;
            }
        }
    }

    /// Databases by name; all without one.
    fn databases(&self, name: Option<&str>) -> Result<Vec<Arc<Database>>, Fault> {
        let all = self.health.databases.load();
        let found: Vec<_> = all.iter().filter(|known| name.is_none_or(|name| *known.name == *name)).cloned().collect();
        match (name, found.is_empty()) {
            (Some(name), true) => {
                let message = format!("database \"{name}\" does not exist");
                Err(Fault::new(SqlState::INVALID_CATALOG_NAME, message))
            }
            (Some(_) | None, _) => Ok(found),
        }
    }

    async fn pause_those(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        let databases = self.databases(database)?;
        let pauses = databases.iter().map(|database| async move {
            let name = &database.name;
            match shard {
                None => {
                    tracing::info!(database = %name, "pausing: new statements wait");
                    database.pause().await;
                    tracing::info!(database = %name, "paused: nothing runs");
                }
                Some(shard) => {
                    tracing::info!(database = %name, shard, "pausing: new statements for the shard wait");
                    if database.pause_shard(shard).await.is_err() {
                        let message = format!("database \"{name}\" has no shard \"{shard}\"");
                        return Err(Fault::new(SqlState::UNDEFINED_OBJECT, message));
                    }
                    tracing::info!(database = %name, shard, "paused: nothing runs there");
                }
            }
            Ok(())
        });
        futures::future::try_join_all(pauses).await.map(drop)
    }

    fn resume_those(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        let mut any = database.is_none() && self.front.load().shared.desks.resume();
        if any {
            tracing::info!("resumed: what clients send is done");
        }
        for database in self.databases(database)? {
            let resumed = match shard {
                Some(shard) => database.resume_shard(shard),
                None => {
                    let shards = database.traffic().paused_shards();
                    let resumed = shards.iter().filter(|shard| database.resume_shard(shard)).count();
                    database.resume() || resumed > 0
                }
            };
            if resumed {
                tracing::info!(database = %database.name, shard, "resumed");
            }
            any |= resumed;
        }
        if any { Ok(()) } else { Err(Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "nothing is paused")) }
    }

    /// What came of a configuration, for the log and the metrics.
    pub fn tell(&self, done: &Result<Applied, Vec<String>>) {
        let metrics = &self.front.load().shared.metrics;
        match done {
            Ok(applied) if applied.changed.is_empty() && applied.later.is_empty() => {
                metrics.reloaded("unchanged");
                tracing::info!("the configuration is unchanged");
            }
            Ok(applied) => {
                metrics.reloaded("applied");
                tracing::info!(changed = applied.changed.join(", "), "the new configuration is in force");
                if !applied.later.is_empty() {
                    tracing::warn!(settings = applied.later.join(", "), "these settings take effect at the next start");
                }
            }
            Err(errors) => {
                metrics.reloaded("rejected");
                for error in errors {
                    tracing::error!("{error}");
                }
                tracing::error!("the new configuration was rejected; the one of before is in force");
            }
        }
    }
}

impl Steering for Live {
    fn reload(&self) -> BoxFuture<'_, Result<Applied, Fault>> {
        Box::pin(async {
            self.reload_now().await.map_err(|errors| {
                Fault::new(SqlState::CONFIG_FILE_ERROR, "the configuration was rejected")
                    .detail(errors.join("\n"))
                    .hint("The configuration of before is still in force.")
                    .blame(Blame::Router)
            })
        })
    }

    fn pause<'a>(&'a self, database: Option<&'a str>, shard: Option<&'a str>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.pause_those(database, shard))
    }

    fn suspend(&self) -> BoxFuture<'_, ()> {
        let shared = Arc::clone(&self.front.load().shared);
        Box::pin(async move {
            tracing::info!("suspending: what clients send waits");
            shared.desks.suspend().await;
            tracing::info!("suspended: nothing runs");
        })
    }

    fn resume(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        self.resume_those(database, shard)
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Applied, Fault>> {
        Box::pin(self.give(key, value))
    }

    fn shut_down(&self, how: Ending) {
        tracing::info!(?how, "the console ends the router");
        self.ending.send_replace(Some(how));
    }
}

/// The map of a file is served: under which epoch it is kept, or why it is not.
pub(super) fn note_kept(state: &MapState, kept: Option<io::Result<KeptMap>>) {
    match kept {
        None => {}
        Some(Ok(kept)) => {
            if let Some(problem) = &kept.problem {
                tracing::error!(problem, "the next map cannot be kept on disk as this one was");
            }
            state.update(|status| {
                describe(status, &kept.head);
                let told = kept
                    .problem
                    .map(|problem| format!("the next map cannot be kept on disk as this one was: {problem}").into());
                status.problem = told.or(status.problem.take());
            });
        }
        Some(Err(error)) => {
            tracing::error!(%error, "the map cannot be kept on disk: there is no way back to it, and a start with a file that is wrong would have none");
            state.update(|status| status.problem = Some(format!("the map cannot be kept on disk: {error}").into()));
        }
    }
}

pub(super) fn describe(status: &mut MapStatus, head: &Head) {
    status.epoch = head.epoch;
    status.changed_at = (&*head.changed_at).into();
    status.changed_by = (&*head.changed_by).into();
    status.reason = (&*head.reason).into();
}
