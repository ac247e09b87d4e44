//! Figures that mean the same on every machine: how many times as long one thing takes as another, in one run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use serde_json::{Value, json};

/// How often both are measured, in turns, so that whatever else the machine does slows both down alike.
const ROUNDS: usize = 60;

/// How often each is done in a turn.
const REPEATS: usize = 50;

/// Measures both, and prints the ratio of their medians. What either needs is made outside of the measurement.
pub(crate) fn ratio<A, B>(
    criterion: &mut Criterion,
    name: &str,
    target: &str,
    mut ours: (impl FnMut() -> A, impl FnMut(A)),
    mut other: (&str, impl FnMut() -> B, impl FnMut(B)),
) {
    let mut group = criterion.benchmark_group(name);
    let size = criterion::BatchSize::SmallInput;
    group.bench_function("ours", |bench| bench.iter_batched(&mut ours.0, &mut ours.1, size));
    group.bench_function(other.0, |bench| bench.iter_batched(&mut other.1, &mut other.2, size));
    group.finish();
    let mut measured = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        measured.0.push(time(&mut ours.0, &mut ours.1));
        measured.1.push(time(&mut other.1, &mut other.2));
    }
    let (ours, against) = (median(measured.0), median(measured.1));
    let ratio = ours.as_secs_f64() / against.as_secs_f64();
    println!(
        "{name}: {ratio:.2} times {} ({ours:.1?} to {against:.1?}){target}",
        other.0
    );
}

/// How long it takes once.
fn time<T>(make: &mut impl FnMut() -> T, run: &mut impl FnMut(T)) -> Duration {
    let inputs: Vec<T> = (0..REPEATS).map(|_| make()).collect();
    let start = Instant::now();
    for input in inputs {
        run(black_box(input));
    }
    start.elapsed() / u32::try_from(REPEATS).unwrap_or(1)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Two kilobytes of a policy of Kubernetes, as a review has it.
pub(crate) fn kubernetes() -> Value {
    let rule = |number: u16| {
        json!({
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": format!("team-{number}")}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": format!("client-{number}")}},
                },
                {"ipBlock": {"cidr": format!("10.{number}.0.0/16"), "except": [format!("10.{number}.7.0/24")]}},
            ],
            "ports": [{"port": 8000 + number, "protocol": "TCP"}, {"port": "metrics", "protocol": "TCP"}],
        })
    };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "allow-clients",
            "namespace": "payments",
            "uid": "0b2f6c0e-9f52-4d33-8a38-5c1f2a0a7d11",
            "resourceVersion": "81234567",
            "generation": 3,
            "creationTimestamp": "2026-05-04T10:11:12Z",
            "labels": {"app.kubernetes.io/name": "payments", "app.kubernetes.io/part-of": "shop", "team": "payments"},
            "annotations": {"description": "Who may call the payments service, and on which ports"},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "payments"}},
            "policyTypes": ["Ingress"],
            "ingress": [rule(1), rule(2), rule(3), rule(4), rule(5)],
        },
    })
}

/// What everything is compared with.
pub(crate) fn parsing(text: &str) -> (&'static str, impl FnMut(), impl FnMut(()) + '_) {
    let parse = move |()| {
        black_box(serde_json::from_str::<Value>(text).unwrap());
    };
    ("parsing", || (), parse)
}
