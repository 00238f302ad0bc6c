//! Prometheus metrics. Label sets are bounded: kinds of the table, outcomes, platforms that exist.

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use trading_core::kinds::Kind;

/// Everything that is measured.
pub struct Metrics {
    registry: Registry,
    reconcile_seconds: HistogramVec,
    objects: IntCounterVec,
    queue_depth: Gauge,
    platform_ready: GaugeVec,
    platform_cost: GaugeVec,
}

/// Label of the estimates of a platform: at the fewest pods, at those of now, at the most.
const BOUNDS: [&str; 3] = ["minimum", "present", "maximum"];

/// What happened to an object of a platform.
#[derive(Clone, Copy, Debug)]
pub enum ObjectOutcome {
    /// It was written.
    Applied,
    /// It was as it should be and not touched.
    Unchanged,
    /// It was deleted.
    Pruned,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Where two metrics have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            reconcile_seconds: HistogramVec::new(
                HistogramOpts::new("trading_operator_reconcile_seconds", "Duration of reconciles by outcome")
                    .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
                &["outcome"],
            )?,
            objects: IntCounterVec::new(
                Opts::new(
                    "trading_operator_objects_total",
                    "Objects applied, left unchanged or pruned, by kind",
                ),
                &["kind", "outcome"],
            )?,
            queue_depth: Gauge::new(
                "trading_operator_queue_depth",
                "Platforms that wait for their reconcile",
            )?,
            platform_ready: GaugeVec::new(
                Opts::new("trading_platform_ready", "1 where the platform's condition Ready is True, else 0"),
                &["namespace", "name"],
            )?,
            platform_cost: GaugeVec::new(
                Opts::new(
                    "trading_platform_estimated_monthly_cost",
                    "Estimated cost of a month in the currency of the price table, at the fewest, the present and the most pods",
                ),
                &["namespace", "name", "bound"],
            )?,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.reconcile_seconds.clone()))?;
        registry.register(Box::new(metrics.objects.clone()))?;
        registry.register(Box::new(metrics.queue_depth.clone()))?;
        registry.register(Box::new(metrics.platform_ready.clone()))?;
        registry.register(Box::new(metrics.platform_cost.clone()))?;
        Ok(metrics)
    }

    /// A reconcile ended.
    pub fn reconciled(&self, outcome: &str, seconds: f64) {
        self.reconcile_seconds.with_label_values(&[outcome]).observe(seconds);
    }

    /// Something happened to `count` objects of a kind.
    pub fn objects(&self, kind: Kind, outcome: ObjectOutcome, count: u64) {
        let outcome = match outcome {
            ObjectOutcome::Applied => "applied",
            ObjectOutcome::Unchanged => "unchanged",
            ObjectOutcome::Pruned => "pruned",
        };
        self.objects.with_label_values(&[&kind.to_string(), outcome]).inc_by(count);
    }

    /// So many platforms wait.
    pub fn queue_depth(&self, waiting: usize) {
        self.queue_depth.set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
    }

    /// A platform is ready or not.
    pub fn platform(&self, namespace: &str, name: &str, ready: bool) {
        self.platform_ready.with_label_values(&[namespace, name]).set(f64::from(u8::from(ready)));
    }

    /// What a platform costs: at the fewest pods, at those of now, at the most.
    pub fn cost(&self, namespace: &str, name: &str, costs: [Decimal; 3]) {
        for (bound, cost) in BOUNDS.into_iter().zip(costs) {
            // Beyond what a float holds there is no price.
            let cost = cost.to_f64().unwrap_or(f64::INFINITY);
            self.platform_cost.with_label_values(&[namespace, name, bound]).set(cost);
        }
    }

    /// What a platform costs is not known any more.
    pub fn forget_cost(&self, namespace: &str, name: &str) {
        for bound in BOUNDS {
            // An error means that there was no such series.
            let _ = self.platform_cost.remove_label_values(&[namespace, name, bound]);
        }
    }

    /// A platform is gone.
    pub fn forget_platform(&self, namespace: &str, name: &str) {
        // An error means that there was no such series.
        let _ = self.platform_ready.remove_label_values(&[namespace, name]);
        self.forget_cost(namespace, name);
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics can't be encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_its_series_until_it_is_gone() -> Result<(), prometheus::Error> {
        let metrics = Metrics::new()?;
        metrics.reconciled("ok", 0.2);
        metrics.objects(Kind::Deployment, ObjectOutcome::Applied, 2);
        metrics.queue_depth(3);
        metrics.platform("prod", "shop", true);
        metrics.cost("prod", "shop", [Decimal::ONE, Decimal::TWO, Decimal::TEN]);
        let text = || String::from_utf8_lossy(&metrics.text()).into_owned();
        for line in [
            "trading_operator_reconcile_seconds_count{outcome=\"ok\"} 1",
            "trading_operator_objects_total{kind=\"Deployment\",outcome=\"applied\"} 2",
            "trading_operator_queue_depth 3",
            "trading_platform_ready{name=\"shop\",namespace=\"prod\"} 1",
            "trading_platform_estimated_monthly_cost{bound=\"maximum\",name=\"shop\",namespace=\"prod\"} 10",
        ] {
            assert!(text().contains(line), "{line} is not in\n{}", text());
        }
        metrics.platform("prod", "shop", false);
        assert!(text().contains("trading_platform_ready{name=\"shop\",namespace=\"prod\"} 0"));
        metrics.forget_platform("prod", "shop");
        assert!(!text().contains("shop"), "{}", text());
        Ok(())
    }
}
