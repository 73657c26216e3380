//! What scrapes show.

#![allow(clippy::unwrap_used)]
use std::time::Duration;

use super::*;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).unwrap()
}

#[test]
fn every_class_is_counted_under_its_own_label() {
    let metrics = Metrics::new();
    for (i, class) in QueryClass::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, i);
        metrics.query(class, i, Duration::from_millis(3));
    }
    metrics.query(QueryClass::Scatter, 4, Duration::from_millis(3));
    let text = text(&metrics);
    for line in [
        "pgloom_queries_total{class=\"single\"} 1\n",
        "pgloom_queries_total{class=\"scatter\"} 2\n",
        "pgloom_query_seconds_bucket{class=\"scatter\",le=\"0.0025\"} 0\n",
        "pgloom_query_seconds_bucket{class=\"scatter\",le=\"0.005\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_pool_that_is_gone_is_no_longer_reported() {
    struct Once(std::sync::Mutex<Vec<Sample>>);
    impl Source for Once {
        fn sample(&self) -> Sample {
            self.0.lock().unwrap().pop().unwrap_or_default()
        }
    }
    let pool = PoolSample {
        database: "shop".into(),
        user: "app".into(),
        shard: "s1".into(),
        role: "primary",
        host: "h:1".into(),
        sv_idle: 3,
        breaker: BreakerSample::Open,
        ..PoolSample::default()
    };
    let topologies = vec![TopologySample { database: "shop".into(), epoch: 7, stale: Duration::ZERO }];
    let metrics = Metrics::new();
    let breakers = vec![BreakerCounts { host: "h:1".into(), opened: 2, rejected: 9 }];
    let server = ServerSample {
        database: "shop".into(),
        shard: "s1".into(),
        server: "h:2".into(),
        role: "replica",
        lag_bytes: Some(80),
        lag: Some(Duration::from_millis(1500)),
        latency: None,
    };
    metrics.set_source(Once(
        vec![Sample {
            ready: true,
            pools: vec![pool],
            topologies,
            breakers,
            servers: vec![server],
            ..Sample::default()
        }]
        .into(),
    ));

    let labels = "{database=\"shop\",host=\"h:1\",role=\"primary\",shard=\"s1\",user=\"app\"}";
    let first = text(&metrics);
    assert!(first.contains(&format!("pgloom_pool_sv_idle{labels} 3\n")), "{first}");
    assert!(first.contains(&format!("pgloom_breaker_state{labels} 1\n")), "{first}");
    assert!(first.contains("pgloom_breaker_opened_total{host=\"h:1\"} 2\n"), "{first}");
    assert!(first.contains("pgloom_breaker_rejected_total{host=\"h:1\"} 9\n"), "{first}");
    assert!(first.contains("pgloom_ready 1\n") && first.contains("pgloom_topology_version{database=\"shop\"} 7\n"));
    let server = "{database=\"shop\",server=\"h:2\",shard=\"s1\"}";
    assert!(first.contains(&format!("pgloom_replication_lag_bytes{server} 80\n")), "{first}");
    assert!(first.contains(&format!("pgloom_replication_lag_seconds{server} 1.5\n")), "{first}");
    let role = "{database=\"shop\",role=\"replica\",server=\"h:2\",shard=\"s1\"}";
    assert!(first.contains(&format!("pgloom_server_role{role} 1\n")), "{first}");
    let second = text(&metrics);
    assert!(second.contains("pgloom_ready 0\n") && !second.contains("shop"), "{second}");
    // A count does not go back.
    assert!(second.contains("pgloom_breaker_opened_total{host=\"h:1\"} 2\n"), "{second}");
}

#[test]
fn errors_are_labelled_by_class_and_odd_codes_share_one_label() {
    let metrics = Metrics::new();
    metrics.error("42P01", "client");
    metrics.error("42601", "client");
    metrics.error("é\n", "server");
    // What somebody's function has raised.
    metrics.error("Q7001", "server");
    metrics.refused("no_sharding_key");
    let text = text(&metrics);
    assert!(text.contains("pgloom_errors_total{blame=\"client\",sqlstate_class=\"42\"} 2\n"), "{text}");
    assert!(text.contains("pgloom_errors_total{blame=\"server\",sqlstate_class=\"other\"} 2\n"), "{text}");
    assert!(text.contains("pgloom_refusals_total{reason=\"no_sharding_key\"} 1\n"), "{text}");
}

#[test]
fn the_process_reports_its_own_memory_and_files() {
    let text = text(&Metrics::new());
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes ") > 100_000.0);
    assert!(value("process_open_fds ") >= 3.0);
}

#[test]
fn a_label_is_at_the_place_of_its_handle() {
    assert!(Route::ALL.iter().enumerate().all(|(at, route)| *route as usize == at));
    assert!(Overdue::ALL.iter().enumerate().all(|(at, limit)| *limit as usize == at));
    assert!(Ended::ALL.iter().enumerate().all(|(at, ended)| *ended as usize == at));
    let metrics = Metrics::new();
    metrics.planned(Route::Claim);
    metrics.overdue(Overdue::QueryWait);
    metrics.two_phase(Ended::Unknown, Duration::from_millis(4));
    let text = text(&metrics);
    for line in [
        "pgloom_plans_total{kind=\"claim\",tier=\"merge\"} 1\n",
        "pgloom_timeouts_total{limit=\"query_wait\"} 1\n",
        "pgloom_two_phase_commits_total{outcome=\"unknown\"} 1\n",
        "pgloom_two_phase_seconds_count 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_others_count_may_begin_anew() {
    struct Connects(std::sync::Mutex<Vec<(u64, u64)>>);
    impl Source for Connects {
        fn sample(&self) -> Sample {
            let connects = self.0.lock().unwrap().pop().map(|(tried, failed)| ConnectSample {
                database: "shop".into(),
                shard: "s1".into(),
                tried,
                failed,
                discarded: 1,
            });
            Sample { connects: connects.into_iter().collect(), ..Sample::default() }
        }
    }
    let metrics = Metrics::new();
    metrics.set_source(Connects(vec![(2, 0), (9, 4)].into()));
    let opened = "pgloom_shard_connects_total{database=\"shop\",outcome=\"opened\",shard=\"s1\"}";
    assert!(text(&metrics).contains(&format!("{opened} 5\n")));
    assert!(text(&metrics).contains(&format!("{opened} 2\n")));
    assert!(!text(&metrics).contains("shop"));
}
