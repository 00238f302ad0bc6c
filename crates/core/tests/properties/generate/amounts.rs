//! Amounts in all notations.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use trading_api::{
    Quantity,
    component::{ResourceAmounts, Resources},
    int_or_percent::IntOrPercent,
};

use crate::tape::Tape;

/// Amounts in ascending order, in all notations.
pub(super) const CPU: [&str; 14] =
    ["0", "1n", "100u", "1m", "50m", "0.1", "100m", "250m", ".5", "500m", "1", "1.5", "2", "1e1"];
pub(super) const MEMORY: [&str; 14] = [
    "0", "1k", "1Ki", "64Mi", "100M", "128Mi", "256Mi", "512Mi", "1e9", "1Gi", "1.5Gi", "2Gi", "64Gi", "1Ei",
];

/// Of which each is below the next, and the smallest runs a Redis.
pub(super) const REDIS_MEMORY: [&str; 6] = ["32Mi", "64Mi", "100M", "1Gi", "1.5Gi", "64Gi"];

pub(super) fn quantity(text: &str) -> Quantity {
    Quantity::from(text)
}

/// Requests at or below limits.
pub(super) fn resources(tape: &mut Tape, cpu: &[&str], memory: &[&str]) -> Resources {
    let mut pair = |amounts: &[&str]| {
        let low = tape.below(amounts.len());
        let high = low + tape.below(amounts.len() - low);
        [low, high].map(|index| tape.maybe(70, |_| quantity(amounts[index])))
    };
    let ([cpu_request, cpu_limit], [memory_request, memory_limit]) = (pair(cpu), pair(memory));
    Resources {
        requests: tape.maybe(80, |_| ResourceAmounts { cpu: cpu_request, memory: memory_request }),
        limits: tape.maybe(80, |_| ResourceAmounts { cpu: cpu_limit, memory: memory_limit }),
    }
}

pub(super) fn percent(number: i32) -> IntOrPercent {
    IntOrPercent(IntOrString::String(format!("{number}%")))
}

pub(super) fn number(number: i32) -> IntOrPercent {
    IntOrPercent(IntOrString::Int(number))
}

pub(super) fn share(tape: &mut Tape, least: i32) -> IntOrPercent {
    if tape.chance(50) { percent(tape.between(least, 100)) } else { number(tape.between(least, 1000)) }
}
