//! Time, memory, and a description of the machine, from what every Linux provides.

use ::koschei::base::clock::Stopwatch;
use serde::Serialize;

/// Cost of an operation.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    pub wall_secs: f64,
    /// Processor time of all threads of this process.
    pub cpu_secs: f64,
}

/// Measures from its creation on.
pub struct Meter {
    watch: Stopwatch,
    cpu: f64,
}

impl Meter {
    pub fn start() -> Self {
        Self { watch: Stopwatch::start(), cpu: cpu_secs() }
    }

    pub fn cost(&self) -> Cost {
        Cost { wall_secs: self.watch.seconds(), cpu_secs: cpu_secs() - self.cpu }
    }
}

/// Runs `f`, which stays on this thread. Returns its wall time and processor time.
pub fn timed<T>(f: impl FnOnce() -> T) -> (T, Took) {
    let (watch, cpu) = (Stopwatch::start(), thread_nanos());
    let result = f();
    let wall = watch.elapsed().as_secs_f64();
    (result, Took { wall, cpu: (thread_nanos() - cpu) * 1e-9 })
}

/// Wall time and processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub wall: f64,
    pub cpu: f64,
}

impl std::ops::AddAssign for Took {
    fn add_assign(&mut self, more: Self) {
        self.wall += more.wall;
        self.cpu += more.cpu;
    }
}

/// Returns the nanoseconds this thread has run. The kernel's resolution is about a tick, so only
/// sums are meaningful.
fn thread_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// Returns user and system time of this process so far, in seconds with the kernel's resolution of
/// a hundredth. 0 if there is no /proc.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Returns a line of `/proc/self/status` in bytes, such as `VmRSS` or `VmHWM`.
pub fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    value.and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The machine of the measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_bytes: u64,
    /// Load of one, five and fifteen minutes.
    pub load: String,
}

pub fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        memory_bytes: memory.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024,
        load: load(),
    }
}

/// Returns the load of one, five and fifteen minutes.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Returns the middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
