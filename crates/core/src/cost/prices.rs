//! The price table: what a core, a GiB of memory and a GiB of volume cost.

use std::{collections::BTreeMap, str::FromStr};

use rust_decimal::Decimal;

/// Keys of the table besides `storage.<StorageClass>`.
pub const KEYS: [&str; 9] = [
    "provider",
    "currency",
    "source",
    "date",
    "cpu.onDemand",
    "cpu.spot",
    "memory.onDemand",
    "memory.spot",
    "storage",
];

/// Clouds whose list prices are built in.
pub const PROVIDERS: [&str; 3] = ["AWS", "GCP", "Azure"];

const STORAGE_CLASS: &str = "storage.";
/// The currency of the built-in prices.
const USD: &str = "USD";
/// More than anybody pays for a core in an hour: the unit is wrong.
const HIGHEST: u32 = 1_000_000;
/// Decimals of a price.
const DECIMALS: u32 = 9;

/// What things cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceTable {
    /// ISO 4217, such as `USD`.
    pub currency: String,
    /// Where the prices come from.
    pub source: String,
    /// When they were looked up.
    pub date: String,
    cpu: [Decimal; 2],
    memory: [Decimal; 2],
    storage: Decimal,
    storage_classes: BTreeMap<String, Decimal>,
}

/// What is wrong with a price table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PriceError {
    /// Key of the table.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl PriceError {
    fn new(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

/// Millionths, so that the table below reads like a price list.
const fn micro(millionths: u32) -> Decimal {
    Decimal::from_parts(millionths, 0, 0, false, 6)
}

/// A cloud's list prices on demand, Linux, USD. Instance types price cores and memory together; two
/// types with the same cores and different memory tell them apart.
struct BuiltIn {
    source: &'static str,
    date: &'static str,
    cpu: Decimal,
    memory: Decimal,
    storage: Decimal,
}

/// m5.large (2 cores, 8 GiB) 0.096, r5.large (2 cores, 16 GiB) 0.126; EBS gp3.
const AWS: BuiltIn = BuiltIn {
    source: "AWS us-east-1, EC2 m5 and r5, EBS gp3",
    date: "2025",
    cpu: micro(33_000),
    memory: micro(3_750),
    storage: micro(80_000),
};

/// N2 has a price for each; balanced persistent disk.
const GCP: BuiltIn = BuiltIn {
    source: "GCP us-central1, N2, pd-balanced",
    date: "2025",
    cpu: micro(31_611),
    memory: micro(4_237),
    storage: micro(100_000),
};

/// D2s v5 (2 cores, 8 GiB) 0.096, E2s v5 (2 cores, 16 GiB) 0.126; 19.71 for a P10 of 128 GiB.
const AZURE: BuiltIn = BuiltIn {
    source: "Azure East US, Dsv5 and Esv5, Premium SSD P10",
    date: "2025",
    cpu: micro(33_000),
    memory: micro(3_750),
    storage: micro(154_000),
};

fn built_in(provider: &str) -> Option<&'static BuiltIn> {
    match provider {
        "AWS" => Some(&AWS),
        "GCP" => Some(&GCP),
        "Azure" => Some(&AZURE),
        _ => None,
    }
}

/// Spot prices change by the hour and have no list: 40 % of the price on demand is assumed.
fn assumed_spot(on_demand: Decimal) -> Decimal {
    on_demand * Decimal::from_parts(4, 0, 0, false, 1)
}

impl Default for PriceTable {
    /// That of AWS.
    fn default() -> Self {
        Self::of_provider(&AWS)
    }
}

impl PriceTable {
    fn of_provider(built_in: &BuiltIn) -> Self {
        Self {
            currency: USD.to_owned(),
            source: built_in.source.to_owned(),
            date: built_in.date.to_owned(),
            cpu: [built_in.cpu, assumed_spot(built_in.cpu)],
            memory: [built_in.memory, assumed_spot(built_in.memory)],
            storage: built_in.storage,
            storage_classes: BTreeMap::new(),
        }
    }

    /// Reads the data of a `ConfigMap`. With `provider`, what is left out is that cloud's list price;
    /// without it every price must be there.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<PriceError>> {
        let mut errors: Vec<PriceError> = data.keys().filter_map(|key| unknown(key)).collect();
        let base = match data.get("provider").map(|name| (name, built_in(name))) {
            None => None,
            Some((_, Some(known))) => Some(Self::of_provider(known)),
            Some((name, None)) => {
                errors.push(PriceError::new(
                    "provider",
                    format!(
                        "{name:?} is not known: use {}, or leave it out and give every price",
                        PROVIDERS.join(", ")
                    ),
                ));
                None
            }
        };
        let mut reader = Reader { data, base: base.as_ref(), errors };
        let table = reader.table();
        if reader.errors.is_empty() { Ok(table) } else { Err(reader.errors) }
    }

    /// Price of a core for an hour.
    #[must_use]
    pub fn cpu(&self, spot: bool) -> Decimal {
        self.cpu[usize::from(spot)]
    }

    /// Price of a GiB of memory for an hour.
    #[must_use]
    pub fn memory(&self, spot: bool) -> Decimal {
        self.memory[usize::from(spot)]
    }

    /// Price of a GiB of volume for a month.
    #[must_use]
    pub fn storage(&self, class: Option<&str>) -> Decimal {
        class.and_then(|class| self.storage_classes.get(class)).copied().unwrap_or(self.storage)
    }

    /// Source and date.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!("{} ({})", self.source, self.date)
    }
}

fn unknown(key: &str) -> Option<PriceError> {
    let known = KEYS.contains(&key) || key.strip_prefix(STORAGE_CLASS).is_some_and(|class| !class.is_empty());
    (!known).then(|| {
        let problem = format!("is not known: use {} or storage.<StorageClass>", KEYS.join(", "));
        PriceError::new(key, problem)
    })
}

struct Reader<'a> {
    data: &'a BTreeMap<String, String>,
    base: Option<&'a PriceTable>,
    errors: Vec<PriceError>,
}

impl Reader<'_> {
    fn table(&mut self) -> PriceTable {
        let currency = self.currency();
        // Dollars don't fill the gaps of a table in euros.
        self.base = self.base.filter(|base| base.currency == currency);
        let cpu = self.price("cpu.onDemand", "a core for an hour, such as 0.033", |base| base.cpu[0]);
        let memory = self
            .price("memory.onDemand", "a GiB of memory for an hour, such as 0.00375", |base| base.memory[0]);
        let storage = self.price("storage", "a GiB of volume for a month, such as 0.08", |base| base.storage);
        let own = KEYS[4..].iter().any(|key| self.data.contains_key(*key));
        PriceTable {
            currency,
            cpu: [cpu, self.spot("cpu.spot", cpu)],
            memory: [memory, self.spot("memory.spot", memory)],
            storage,
            storage_classes: self.classes(),
            source: self.text("source", "say where the prices come from", |base| base.source.clone(), own),
            date: self.text("date", "say when they were looked up", |base| base.date.clone(), own),
        }
    }

    fn currency(&mut self) -> String {
        let currency = self.data.get("currency").cloned().unwrap_or_else(|| USD.to_owned());
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let problem = format!("{currency:?} is no currency: use its three letters, such as USD or EUR");
            self.errors.push(PriceError::new("currency", problem));
        }
        currency
    }

    /// Source or date; own prices need their own.
    fn text(
        &mut self,
        key: &str,
        remedy: &str,
        built_in: impl Fn(&PriceTable) -> String,
        own: bool,
    ) -> String {
        match (self.data.get(key), self.base) {
            (Some(text), _) if !text.trim().is_empty() && text.len() <= 200 => return text.trim().to_owned(),
            (Some(_), _) => {
                self.errors.push(PriceError::new(key, format!("{remedy}, in 1 to 200 characters")));
            }
            (None, Some(base)) if !own => return built_in(base),
            (None, _) => self.errors.push(PriceError::new(key, format!("is missing: {remedy}"))),
        }
        String::new()
    }

    fn price(&mut self, key: &str, of: &str, built_in: impl Fn(&PriceTable) -> Decimal) -> Decimal {
        match (self.data.get(key), self.base) {
            (Some(text), _) => self.number(key, text, of),
            (None, Some(base)) => built_in(base),
            (None, None) => {
                let fill = format!("or set provider to one of {}", PROVIDERS.join(", "));
                let fill = if self.data.contains_key("provider") { "whose list is in USD" } else { &fill };
                self.errors.push(PriceError::new(key, format!("is missing: give the price of {of}, {fill}")));
                Decimal::ZERO
            }
        }
    }

    fn spot(&mut self, key: &str, on_demand: Decimal) -> Decimal {
        match self.data.get(key) {
            Some(text) => self.number(key, text, "it on spot nodes, such as 0.0132"),
            None => assumed_spot(on_demand),
        }
    }

    fn classes(&mut self) -> BTreeMap<String, Decimal> {
        let mut classes = BTreeMap::new();
        for (key, text) in self.data {
            if let Some(class) = key.strip_prefix(STORAGE_CLASS) {
                let price = self.number(key, text, "a GiB of volume for a month, such as 0.08");
                classes.insert(class.to_owned(), price);
            }
        }
        classes
    }

    fn number(&mut self, key: &str, text: &str, of: &str) -> Decimal {
        let wrong = match Decimal::from_str(text.trim()) {
            Ok(price) if price.is_sign_negative() && !price.is_zero() => "is negative",
            Ok(price) if price > Decimal::from(HIGHEST) => "is too high",
            Ok(price) if price.normalize().scale() > DECIMALS => "has more than 9 decimals",
            Ok(price) => return price,
            Err(_) => "is not a number",
        };
        self.errors.push(PriceError::new(key, format!("{text:?} {wrong}: give the price of {of}")));
        Decimal::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, PROVIDERS, PriceTable};

    fn read(data: &[(&str, &str)]) -> Result<PriceTable, String> {
        let data: BTreeMap<String, String> =
            data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PriceTable::read(&data)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    const OWN: [(&str, &str); 6] = [
        ("cpu.onDemand", "0.04"),
        ("memory.onDemand", "0.005"),
        ("storage", "0.1"),
        ("currency", "EUR"),
        ("source", "our contract"),
        ("date", "2026-11-01"),
    ];

    #[test]
    fn every_cloud_has_a_list_with_source_and_date() {
        for provider in PROVIDERS {
            let table = read(&[("provider", provider)]).expect(provider);
            assert!(table.cpu(false) > table.cpu(true) && table.memory(false) > table.memory(true));
            assert!(table.source.starts_with(provider) && !table.date.is_empty(), "{}", table.in_words());
        }
        assert_eq!(read(&[("provider", "AWS")]), Ok(PriceTable::default()));
    }

    #[test]
    fn own_prices_replace_those_of_the_list() {
        let table = read(&[
            ("provider", "GCP"),
            ("cpu.onDemand", "0.02"),
            ("storage.fast-ssd", "0.2"),
            ("source", "committed use"),
            ("date", "2026-11"),
        ])
        .expect("valid");
        assert_eq!(table.cpu(false).to_string(), "0.02");
        assert_eq!(table.cpu(true).normalize().to_string(), "0.008");
        assert_eq!(table.memory(false).to_string(), "0.004237");
        assert_eq!(table.storage(Some("fast-ssd")).to_string(), "0.2");
        assert_eq!(table.storage(Some("other")), table.storage(None));
        assert_eq!(table.in_words(), "committed use (2026-11)");
    }

    #[test]
    fn a_whole_table_needs_no_cloud() {
        let table = read(&OWN).expect("valid");
        assert_eq!((table.currency.as_str(), table.cpu(false).to_string().as_str()), ("EUR", "0.04"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_remedy() {
        assert_eq!(
            read(&OWN[1..]).expect_err("no cpu"),
            "cpu.onDemand: is missing: give the price of a core for an hour, such as 0.033, or set provider to one of AWS, GCP, Azure"
        );
        let all = read(&[]).expect_err("empty");
        for key in ["cpu.onDemand", "memory.onDemand", "storage", "source", "date"] {
            assert!(all.contains(&format!("{key}: is missing")), "{key} in {all}");
        }
        assert_eq!(
            read(&[("provider", "AWS"), ("storage", "0.1"), ("date", "2026")]).expect_err("no source"),
            "source: is missing: say where the prices come from"
        );
        let euros = read(&[("provider", "AWS"), ("currency", "EUR")]).expect_err("dollars");
        assert!(
            euros.contains("cpu.onDemand: is missing: give the price of a core for an hour, such as 0.033, whose list is in USD"),
            "{euros}"
        );
    }

    #[test]
    fn wrong_values_are_named_with_the_remedy() {
        for (key, value, message) in [
            (
                "cpu.onDemand",
                "-0.03",
                "cpu.onDemand: \"-0.03\" is negative: give the price of a core for an hour, such as 0.033",
            ),
            (
                "memory.spot",
                "cheap",
                "memory.spot: \"cheap\" is not a number: give the price of it on spot nodes, such as 0.0132",
            ),
            (
                "storage",
                "1e9",
                "storage: \"1e9\" is too high: give the price of a GiB of volume for a month, such as 0.08",
            ),
            (
                "storage",
                "10000000",
                "storage: \"10000000\" is too high: give the price of a GiB of volume for a month, such as 0.08",
            ),
            (
                "storage.",
                "1",
                "storage.: is not known: use provider, currency, source, date, cpu.onDemand, cpu.spot, memory.onDemand, memory.spot, storage or storage.<StorageClass>",
            ),
            (
                "storage.fast",
                "0.0000000001",
                "storage.fast: \"0.0000000001\" has more than 9 decimals: give the price of a GiB of volume for a month, such as 0.08",
            ),
            (
                "currency",
                "dollars",
                "currency: \"dollars\" is no currency: use its three letters, such as USD or EUR",
            ),
            (
                "provider",
                "aws",
                "provider: \"aws\" is not known: use AWS, GCP, Azure, or leave it out and give every price",
            ),
            ("source", " ", "source: say where the prices come from, in 1 to 200 characters"),
        ] {
            let mut data: Vec<(&str, &str)> = OWN.into_iter().filter(|(name, _)| *name != key).collect();
            data.push((key, value));
            assert_eq!(read(&data).expect_err(key), message);
        }
    }
}
