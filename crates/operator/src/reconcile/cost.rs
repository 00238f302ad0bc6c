//! Puts the estimate of cost into status and metrics.

use trading_api::status::TradingPlatformStatus;
use trading_core::{
    cost::{self, Basis},
    object::Object,
};

use super::Context;
use crate::cache::PlatformKey;

/// Estimates at the prices of now; where they are not known yet, the last estimate stays.
pub fn estimate(
    objects: &[Object],
    key: &PlatformKey,
    context: &Context,
    status: &mut TradingPlatformStatus,
) {
    let Some(table) = context.caches.prices.get() else { return };
    let estimate = table.as_ref().as_ref().map_err(Clone::clone).and_then(|prices| {
        cost::estimate(objects, prices, Basis::Requests).map_err(|error| error.to_string())
    });
    status.estimated_monthly_cost = Some(cost::status(estimate.as_ref().map_err(String::as_str)));
    match &estimate {
        Ok(estimate) => {
            let present = estimate.at_present(&status.components);
            context.metrics.cost(
                &key.namespace,
                &key.name,
                [estimate.total.min, present, estimate.total.max],
            );
        }
        Err(_) => context.metrics.forget_cost(&key.namespace, &key.name),
    }
}
