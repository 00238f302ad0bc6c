//! Puts the estimate of cost into status and metrics.

use trading_api::status::TradingPlatformStatus;
use trading_core::{
    cost::{self, Basis, Estimate},
    object::Object,
};

use super::Context;
use crate::cache::PlatformKey;

/// What objects cost at the prices of now, or why that is not known; none before the prices are.
pub struct Estimated(Option<Result<Estimate, String>>);

impl Estimated {
    /// Estimates.
    pub fn of(objects: &[Object], context: &Context) -> Self {
        let table = context.caches.prices.get();
        Self(table.map(|table| {
            let prices = table.as_ref().as_ref().map_err(Clone::clone)?;
            cost::estimate(objects, prices, Basis::Requests).map_err(|error| error.to_string())
        }))
    }

    /// Puts it into status and metrics; where it is not known yet, the last estimate stays.
    pub fn tell(&self, key: &PlatformKey, context: &Context, status: &mut TradingPlatformStatus) {
        let Some(estimate) = &self.0 else { return };
        status.estimated_monthly_cost = Some(cost::status(estimate.as_ref().map_err(String::as_str)));
        match estimate {
            Ok(estimate) => {
                let present = estimate.at_present(&status.components);
                let totals = [estimate.total.min, present, estimate.total.max];
                context.metrics.cost(&key.namespace, &key.name, totals);
            }
            Err(_) => context.metrics.forget_cost(&key.namespace, &key.name),
        }
    }
}
