//! What has an application told of itself? A recorder that keeps everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use millstream::metrics::Kind;
use millstream::time::{Clock, SystemClock};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps everything that it is told.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Told>>, Arc<Condvar>);

#[derive(Default)]
pub(crate) struct Told {
    pub(crate) described: BTreeMap<String, (Kind, Option<Unit>, String)>,
    pub(crate) series: BTreeMap<String, (Kind, Arc<Series>)>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

/// One metric with one set of labels.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) key: Key,
    /// A counter's sum, a gauge's level, or how many values a histogram was told.
    pub(crate) value: Mutex<f64>,
    /// The most that `value` ever was.
    peak: Mutex<f64>,
    changed: Arc<Condvar>,
}

impl Series {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut value = self.value.lock().unwrap();
        *value = change(*value);
        let mut peak = self.peak.lock().unwrap();
        *peak = value.max(*peak);
        self.changed.notify_all();
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.change(|sum| sum + value as f64);
    }
    fn absolute(&self, value: u64) {
        self.change(|sum| sum.max(value as f64));
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.change(|level| level + value);
    }
    fn decrement(&self, value: f64) {
        self.change(|level| level - value);
    }
    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Series {
    fn record(&self, _value: f64) {
        self.change(|count| count + 1.0);
    }
}

impl Memory {
    fn series(&self, key: &Key, kind: Kind) -> Arc<Series> {
        let mut told = self.0.lock().unwrap();
        let new = || {
            let (key, changed) = (key.clone(), Arc::clone(&self.1));
            let (value, peak) = (Mutex::new(0.0), Mutex::new(0.0));
            (kind, Arc::new(Series { key, value, peak, changed }))
        };
        let (known, series) = told.series.entry(shown(key)).or_insert_with(new);
        assert_eq!(*known, kind, "{key}");
        Arc::clone(series)
    }

    fn describe(&self, name: &KeyName, kind: Kind, unit: Option<Unit>, meaning: SharedString) {
        let told = (kind, unit, meaning.into_owned());
        self.0.lock().unwrap().described.insert(name.as_str().to_owned(), told);
    }

    /// Waits until this holds; looks again at each news, and ten times a second.
    pub(crate) fn wait_until(&self, is_reached: impl Fn() -> bool) -> bool {
        let clock = SystemClock::default();
        let begun = clock.instant();
        while !is_reached() {
            if clock.instant().since(begun) > PATIENCE {
                return false;
            }
            drop(self.1.wait_timeout(self.told(), Duration::from_millis(100)).unwrap());
        }
        true
    }

    /// What has been told so far.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// The sum over all series of a metric that carry these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.fold(name, labels, |series| *series.value.lock().unwrap())
    }

    /// As [`sum`](Self::sum), of the most that each series ever was.
    pub(crate) fn peaks(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.fold(name, labels, |series| *series.peak.lock().unwrap())
    }

    fn fold(&self, name: &str, labels: &[(&str, &str)], of: impl Fn(&Series) -> f64) -> f64 {
        let told = self.told();
        let carries = |key: &Key, (name, value): &(&str, &str)| {
            key.labels().any(|label| label.key() == *name && label.value() == *value)
        };
        let series = told.series.values().map(|(_, series)| series);
        let wanted = series.filter(|series| {
            series.key.name() == name && labels.iter().all(|label| carries(&series.key, label))
        });
        wanted.map(|series| of(series)).sum()
    }
}

fn shown(key: &Key) -> String {
    let mut labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
    labels.sort();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Memory {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&key, Kind::Counter, unit, meaning);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&key, Kind::Gauge, unit, meaning);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&key, Kind::Histogram, unit, meaning);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key, Kind::Counter))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key, Kind::Gauge))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key, Kind::Histogram))
    }
}
