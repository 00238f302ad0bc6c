//! What a platform costs in a month, estimated from what its objects ask for. Pure.
//!
//! It reads the rendered objects and not the plan, so that whatever the platform becomes is counted:
//! agents and sidecars, stores of every mode, and kinds that are added later.

mod demand;
mod prices;

use rust_decimal::{Decimal, RoundingStrategy};
use trading_api::status::{ComponentStatus, CostEstimate};

use crate::object::Object;
pub use demand::Basis;
use demand::Demand;
pub use prices::{KEYS, PROVIDERS, PriceError, PriceTable};

/// Hours of a month, as the clouds count them: a twelfth of 365 days.
pub const HOURS: u32 = 730;

/// At the fewest and at the most pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// At the fewest pods.
    pub min: Decimal,
    /// At the most pods.
    pub max: Decimal,
}

impl Span {
    fn map(self, change: impl Fn(Decimal) -> Decimal) -> Self {
        Self { min: change(self.min), max: change(self.max) }
    }
}

impl std::ops::Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { min: self.min + other.min, max: self.max + other.max }
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::default(), std::ops::Add::add)
    }
}

/// What one workload asks for and costs in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Component or store.
    pub component: String,
    /// Kind of the object that runs it.
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Its pods run on spot nodes.
    pub spot: bool,
    /// A pod runs on each node; one is counted, where nothing else is said.
    pub per_node: bool,
    /// Number of pods.
    pub pods: Span,
    /// Cores of all pods.
    pub cpu: Span,
    /// Memory of all pods in GiB.
    pub memory: Span,
    /// Volumes of all pods in GiB.
    pub storage: Span,
    /// What the cores cost.
    pub cpu_cost: Span,
    /// What the memory costs.
    pub memory_cost: Span,
    /// What the volumes cost.
    pub storage_cost: Span,
    /// What it costs.
    pub cost: Span,
}

/// What a platform costs in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Each workload, in the order in which they are applied.
    pub lines: Vec<Line>,
    /// All of them.
    pub total: Span,
    /// Currency of the prices.
    pub currency: String,
    /// Source and date of the prices.
    pub prices: String,
}

impl Estimate {
    /// The same where what has a pod on each node has so many of them.
    #[must_use]
    pub fn on_nodes(mut self, nodes: u32) -> Self {
        for line in self.lines.iter_mut().filter(|line| line.per_node) {
            let Line { pods, cpu, memory, storage, cpu_cost, memory_cost, storage_cost, cost, .. } = line;
            for span in [pods, cpu, memory, storage, cpu_cost, memory_cost, storage_cost, cost] {
                *span = span.map(|amount| amount * Decimal::from(nodes));
            }
        }
        self.total = self.lines.iter().map(|line| line.cost).sum();
        self
    }

    /// What it costs with the pods that are asked for now: between the fewest and the most.
    #[must_use]
    pub fn at_present(&self, components: &[ComponentStatus]) -> Decimal {
        let cost = |line: &Line| {
            let of = components.iter().find(|c| c.name == line.component && c.kind == line.kind);
            match of {
                Some(component) if !line.pods.max.is_zero() => {
                    line.cost.max / line.pods.max * Decimal::from(component.desired)
                }
                _ => line.cost.min,
            }
        };
        self.lines.iter().map(cost).sum()
    }
}

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// An amount that no node could have.
    #[error("{object}: {quantity:?} is no amount that can be reckoned with: use one such as 500m or 2Gi")]
    Amount {
        /// The object that asks for it.
        object: String,
        /// The amount.
        quantity: String,
    },
}

/// What the objects cost in a month at these prices. Jobs are not counted: they end.
///
/// # Errors
/// Where an amount can't be reckoned with.
pub fn estimate(objects: &[Object], prices: &PriceTable, basis: Basis) -> Result<Estimate, CostError> {
    let lines: Vec<Line> =
        demand::of(objects, basis)?.into_iter().map(|demand| line(demand, prices)).collect();
    let total = lines.iter().map(|line| line.cost).sum();
    Ok(Estimate { lines, total, currency: prices.currency.clone(), prices: prices.in_words() })
}

fn line(demand: Demand, prices: &PriceTable) -> Line {
    let Demand { component, kind, name, spot, per_node, pods, cpu, memory, volumes, claims } = demand;
    let hours = Decimal::from(HOURS);
    let (cpu, memory) = (pods.map(|pods| pods * cpu), pods.map(|pods| pods * memory));
    let (mut storage, mut storage_cost) = (Span::default(), Span::default());
    let once = Span { min: Decimal::ONE, max: Decimal::ONE };
    let all = volumes.iter().map(|volume| (pods, volume)).chain(claims.iter().map(|claim| (once, claim)));
    for (count, volume) in all {
        let size = count.map(|count| count * volume.size);
        storage = storage + size;
        storage_cost = storage_cost + size.map(|size| size * prices.storage(volume.class.as_deref()));
    }
    let cpu_cost = cpu.map(|cores| cores * prices.cpu(spot) * hours);
    let memory_cost = memory.map(|size| size * prices.memory(spot) * hours);
    Line {
        component,
        kind,
        name,
        spot,
        per_node,
        pods,
        cpu,
        memory,
        storage,
        cpu_cost,
        memory_cost,
        storage_cost,
        cost: cpu_cost + memory_cost + storage_cost,
    }
}

/// An amount of money with two decimals.
#[must_use]
pub fn money(amount: Decimal) -> String {
    format!("{:.2}", amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero))
}

/// What the status says of the cost, or why it says nothing. It depends on the objects and the prices,
/// and on nothing else.
#[must_use]
pub fn status(estimate: Result<&Estimate, &str>) -> CostEstimate {
    match estimate {
        Ok(Estimate { total, currency, prices, .. }) => CostEstimate {
            minimum: Some(money(total.min)),
            maximum: Some(money(total.max)),
            currency: Some(currency.clone()),
            prices: Some(prices.clone()),
            message: None,
        },
        Err(message) => CostEstimate { message: Some(message.to_owned()), ..CostEstimate::default() },
    }
}
