//! What the system says of this process, under the names Prometheus' own clients give it.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Registry};

/// Memory, processor time and start, read from `/proc` when they are scraped. Where there is no
/// `/proc` there are no such metrics.
#[derive(Debug)]
pub struct ProcessMetrics {
    memory: Gauge,
    cpu: Counter,
    start: Gauge,
}

/// The unit of `/proc/self/stat`: Linux tells user space hundredths of a second on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

struct Reading {
    memory_bytes: f64,
    cpu_seconds: f64,
    start_seconds: f64,
}

impl ProcessMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<()> {
        let memory = Gauge::new("process_resident_memory_bytes", "Resident memory.")?;
        let cpu = Counter::new("process_cpu_seconds_total", "Processor time, user and system.")?;
        let start = Gauge::new("process_start_time_seconds", "When it started, since 1970.")?;
        registry.register(Box::new(Self { memory, cpu, start }))
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let (memory, cpu, start) = (self.memory.desc(), self.cpu.desc(), self.start.desc());
        memory.into_iter().chain(cpu).chain(start).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{name}")).ok();
        let reading = file("self/stat").zip(file("self/status")).zip(file("stat"));
        let Some(now) = reading.and_then(|((own, status), all)| read(&own, &status, &all)) else {
            return Vec::new();
        };
        self.memory.set(now.memory_bytes);
        self.start.set(now.start_seconds);
        self.cpu.inc_by((now.cpu_seconds - self.cpu.get()).max(0.0));
        [self.memory.collect(), self.cpu.collect(), self.start.collect()].concat()
    }
}

fn read(own: &str, status: &str, all: &str) -> Option<Reading> {
    let line = |text: &str, key: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    // The name in front may hold anything; what is behind it begins with field 3 (proc_pid_stat(5)).
    let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Reading {
        memory_bytes: line(status, "VmRSS:")? * 1024.0,
        cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
        start_seconds: line(all, "btime ")? + ticks(22)? / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let own = "7 (pg) us (her) S 1 7 7 0 -1 0 9 0 0 0 150 50 0 0 20 0 4 0 4200 9 9 9";
        let status = "Name:\tpgusher\nVmRSS:\t    2048 kB\n";
        let now = read(own, status, "cpu 1 2\nbtime 1000\n").expect("read");
        let found = [now.memory_bytes, now.cpu_seconds, now.start_seconds];
        let expected = [2_097_152.0, 2.0, 1042.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
    }
}
