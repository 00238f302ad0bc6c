//! `docs/benchmarks.md`: what was measured beside what it should be.

use std::time::Duration;

use super::machine;
use super::rendering::Rendering;
use super::requests::{Class, Requests};
use super::result::{Comparison, Measured};
use super::subject::Subject;
use super::table::{Cell, Table};

/// The document, and the targets that were missed.
pub struct Report {
    pub text: String,
    pub missed: Vec<String>,
}

/// From how many platforms on a target holds.
const MANY: usize = 100;
const MOST: usize = 500;
/// For all examples together.
const MOST_RENDERING: Duration = Duration::from_millis(20);

const MEGABYTE: f64 = 1e6;

/// Writes the document.
pub fn write(subject: &Subject, rendering: &Rendering, comparisons: &[Comparison]) -> Report {
    let columns: Vec<_> = comparisons.iter().map(|comparison| comparison.operator.platforms).collect();
    let mut rows = Rows { table: Table::new("platforms", &columns), comparisons };
    rows.creation(subject);
    rows.rest();
    rows.edit();
    rows.restart();
    let kinds: Vec<_> = subject.kinds().iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let window = comparisons.first().map_or(0, |comparison| comparison.operator.rest.window.as_secs());
    let text = format!(
        include_str!("benchmarks.md.in"),
        machine = machine::describe(),
        children = subject.children(),
        kinds = kinds.join(", "),
        autoscaled = subject.autoscaled(),
        rendering = rendering_in_words(rendering),
        window = window,
        table = rows.table.markdown(),
    );
    let mut missed = rows.table.missed;
    if rendering.total() > MOST_RENDERING {
        missed.push(format!(
            "rendering all examples: {:?}; target at most {MOST_RENDERING:?}",
            rendering.total()
        ));
    }
    Report { text, missed }
}

fn rendering_in_words(rendering: &Rendering) -> String {
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let each: Vec<_> =
        rendering.examples.iter().map(|(name, time)| format!("{name} {}", milliseconds(*time))).collect();
    format!("{}; together {}", each.join(", "), milliseconds(rendering.total()))
}

struct Rows<'a> {
    table: Table,
    comparisons: &'a [Comparison],
}

impl Rows<'_> {
    fn row(&mut self, name: &str, target: &str, cell: impl Fn(&Comparison) -> Cell) {
        let cells = self.comparisons.iter().map(cell).collect();
        self.table.row(name, cells, target);
    }

    /// Requests for each platform.
    fn per_platform(&mut self, name: &str, classes: &[Class], most: Option<usize>) {
        let target = most
            .map_or_else(String::new, |most| if most == 0 { "0".to_owned() } else { format!("≤ {most}") });
        self.row(name, &target, |comparison| {
            let Measured { platforms, creation, .. } = &comparison.operator;
            let each = creation.requests.of_any(classes).div(*platforms);
            Cell { text: decimal(each), missed: most.is_some_and(|most| each > most.div(1)) }
        });
    }

    fn creation(&mut self, subject: &Subject) {
        let (children, autoscaled) = (subject.children(), subject.autoscaled());
        self.row("bare client: until all objects exist", "", |comparison| seconds(comparison.bare.time));
        self.row("operator: until all children exist", "", |comparison| seconds(comparison.making.time));
        self.row("operator / bare client", "≤ 1.3 at 100", |comparison| {
            let ratio = comparison.making.time.as_secs_f64() / comparison.bare.time.as_secs_f64();
            let missed = comparison.operator.platforms == MANY && ratio > 1.3;
            Cell { text: format!("{ratio:.2}"), missed }
        });
        self.row("the same of everybody's CPU time", "", |comparison| {
            let (making, bare) = (comparison.making.cpu_seconds, comparison.bare.cpu_seconds);
            Cell::plain(format!("{making:.1} s / {bare:.1} s = {:.2}", making / bare))
        });
        self.row("children made, a second", "", |comparison| {
            let made = (children * comparison.operator.platforms).div(1);
            Cell::plain(format!("{:.0}", made / comparison.making.time.as_secs_f64()))
        });
        let most = children + autoscaled + 4;
        self.per_platform("writes for each platform", &Class::WRITES, Some(most));
        self.per_platform("… children made", &[Class::Create], Some(children));
        self.per_platform("… children changed", &[Class::Apply], Some(0));
        self.per_platform("… replicas handed to the autoscaler", &[Class::Replicas], Some(autoscaled));
        self.per_platform("… finalizer", &[Class::Finalizer], Some(0));
        self.per_platform("… status", &[Class::Status], None);
        self.per_platform("… refused", &[Class::Refused], Some(0));
        self.per_platform("Events for each platform", &[Class::Event], None);
        self.per_platform("reads for each platform", &Class::READS, Some(3));
        self.row("writes that changed nothing", "0", |comparison| {
            let no_ops = comparison.operator.creation.no_ops;
            Cell { text: no_ops.to_string(), missed: no_ops > 0 }
        });
        self.row("operator's CPU for each platform", "", |comparison| {
            let Measured { platforms, creation, .. } = &comparison.operator;
            Cell::plain(format!("{:.1} ms", 1000.0 * creation.cpu_seconds / platforms.div(1)))
        });
        self.row("operator's peak memory", "≤ 60 MB at 500", |comparison| {
            memory(comparison.operator.creation.peak_memory, comparison.operator.platforms)
        });
    }

    fn rest(&mut self) {
        self.row("at rest: writes", "0 at 100", |comparison| {
            none(&comparison.operator.rest.requests, &[&Class::WRITES[..], &[Class::Event]].concat())
        });
        self.row("at rest: reads", "0 at 100", |comparison| {
            none(&comparison.operator.rest.requests, &Class::READS)
        });
        for (name, class) in
            [("at rest: the Lease", Class::Lease), ("at rest: watches renewed", Class::Watch)]
        {
            self.row(name, "", |comparison| {
                Cell::plain(comparison.operator.rest.requests.of(class).to_string())
            });
        }
        self.row("at rest: operator's CPU", "", |comparison| {
            Cell::plain(format!("{:.2} s", comparison.operator.rest.cpu_seconds))
        });
    }

    fn edit(&mut self) {
        self.row("one field edited: writes", "1 child", |comparison| {
            let edit = &comparison.operator.edit;
            let writes: Vec<_> = edit.writes.iter().map(|(name, count)| format!("{count} {name}")).collect();
            Cell { text: writes.join(", "), missed: edit.requests.of_any(&Class::CHILD) != 1 }
        });
    }

    fn restart(&mut self) {
        self.row("restart: quiet after", "≤ 15 s at 500", |comparison| {
            let Measured { platforms, restart, .. } = &comparison.operator;
            let missed = *platforms >= MOST && restart.quiet_after > Duration::from_secs(15);
            Cell { missed, ..seconds(restart.quiet_after) }
        });
        self.row("restart: requests for each platform", "≤ 3 at 500", |comparison| {
            let Measured { platforms, restart, .. } = &comparison.operator;
            let classes = [&Class::WRITES[..], &Class::READS, &[Class::Event]].concat();
            let each = restart.requests.of_any(&classes).div(*platforms);
            Cell { text: decimal(each), missed: *platforms >= MOST && each > 3.0 }
        });
        for (name, class) in [
            ("… gets", Class::Get),
            ("… lists, altogether", Class::List),
            ("… status, altogether", Class::Status),
            ("… Events, altogether", Class::Event),
        ] {
            self.row(name, "", |comparison| {
                let Measured { platforms, restart, .. } = &comparison.operator;
                let count = restart.requests.of(class);
                Cell::plain(match class {
                    Class::Get => decimal(count.div(*platforms)),
                    _ => count.to_string(),
                })
            });
        }
        self.row("restart: writes to children", "0", |comparison| {
            none(&comparison.operator.restart.requests, &Class::CHILD)
        });
        self.row("restart: operator's CPU", "", |comparison| {
            Cell::plain(format!("{:.2} s", comparison.operator.restart.cpu_seconds))
        });
        self.row("restart: operator's peak memory", "≤ 60 MB at 500", |comparison| {
            memory(comparison.operator.restart.peak_memory, comparison.operator.platforms)
        });
    }
}

fn none(requests: &Requests, classes: &[Class]) -> Cell {
    let count = requests.of_any(classes);
    Cell { text: count.to_string(), missed: count > 0 }
}

fn seconds(time: Duration) -> Cell {
    Cell::plain(format!("{:.2} s", time.as_secs_f64()))
}

fn memory(bytes: u64, platforms: usize) -> Cell {
    // Nothing here comes near the 2^52 bytes up to which this is exact.
    #[allow(clippy::cast_precision_loss)]
    let megabytes = bytes as f64 / MEGABYTE;
    Cell { text: format!("{megabytes:.1} MB"), missed: platforms >= MOST && megabytes > 60.0 }
}

/// Whole numbers without a fraction.
fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

trait Div {
    /// Counts divided as numbers with a fraction.
    fn div(self, by: usize) -> f64;
}

impl Div for usize {
    fn div(self, by: usize) -> f64 {
        // Counts of requests don't come near the 2^52 up to which this is exact.
        #[allow(clippy::cast_precision_loss)]
        let quotient = self as f64 / by as f64;
        quotient
    }
}
