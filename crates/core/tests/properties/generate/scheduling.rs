//! Where pods run.

use trading_api::scheduling::{
    Affinity, AntiAffinity, AntiAffinityMode, LabelValue, NodeAffinity, NodeExpression, NodeOperator,
    NodeSelector, NodeSelectorTerm, PreferredTerm, Scheduling, TaintEffect, Toleration, TolerationOperator,
    TopologySpread, WhenUnsatisfiable,
};

use super::names::{LABEL_KEYS, label_value, labels, unique};
use crate::tape::Tape;

pub(super) fn scheduling(tape: &mut Tape) -> Scheduling {
    if !tape.chance(40) {
        return Scheduling::default();
    }
    Scheduling {
        affinity: tape.maybe(30, |tape| Affinity { node_affinity: tape.maybe(80, node_affinity) }),
        anti_affinity: tape.maybe(40, |tape| AntiAffinity {
            mode: tape.copy(&[
                AntiAffinityMode::Preferred,
                AntiAffinityMode::Required,
                AntiAffinityMode::None,
            ]),
            topology_key: tape.maybe(50, |tape| tape.pick(&LABEL_KEYS).to_owned()),
        }),
        topology_spread_constraints: topology_spread(tape),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
        priority_class_name: tape.maybe(20, |tape| tape.pick(&["high", "low.1"]).to_owned()),
    }
}

fn topology_spread(tape: &mut Tape) -> Vec<TopologySpread> {
    unique(tape, 3, &LABEL_KEYS)
        .into_iter()
        .map(|topology_key| TopologySpread {
            max_skew: tape.between(1, 100),
            topology_key,
            when_unsatisfiable: tape
                .copy(&[WhenUnsatisfiable::ScheduleAnyway, WhenUnsatisfiable::DoNotSchedule]),
        })
        .collect()
}

fn node_affinity(tape: &mut Tape) -> NodeAffinity {
    NodeAffinity {
        required_during_scheduling_ignored_during_execution: tape.maybe(60, |tape| NodeSelector {
            node_selector_terms: (0..=tape.below(3)).map(|_| term(tape)).collect(),
        }),
        preferred_during_scheduling_ignored_during_execution: tape
            .list(2, |tape, _| PreferredTerm { weight: tape.between(1, 100), preference: term(tape) }),
    }
}

fn term(tape: &mut Tape) -> NodeSelectorTerm {
    NodeSelectorTerm { match_expressions: (0..=tape.below(2)).map(|_| expression(tape)).collect() }
}

fn expression(tape: &mut Tape) -> NodeExpression {
    let operator = tape.copy(&[
        NodeOperator::In,
        NodeOperator::NotIn,
        NodeOperator::Exists,
        NodeOperator::DoesNotExist,
        NodeOperator::Gt,
        NodeOperator::Lt,
    ]);
    let values = match operator {
        NodeOperator::In | NodeOperator::NotIn => (0..=tape.below(2)).map(|_| label_value(tape)).collect(),
        NodeOperator::Exists | NodeOperator::DoesNotExist => Vec::new(),
        NodeOperator::Gt | NodeOperator::Lt => vec![LabelValue("8".to_owned())],
    };
    NodeExpression { key: tape.pick(&LABEL_KEYS).to_owned(), operator, values }
}

pub(super) fn toleration(tape: &mut Tape) -> Toleration {
    let operator = tape.maybe(60, |tape| tape.copy(&[TolerationOperator::Equal, TolerationOperator::Exists]));
    let effect = tape.maybe(60, |tape| {
        tape.copy(&[TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute])
    });
    Toleration {
        key: tape.pick(&LABEL_KEYS).to_owned(),
        operator,
        value: if operator == Some(TolerationOperator::Exists) { None } else { tape.maybe(50, label_value) },
        effect,
        toleration_seconds: if effect == Some(TaintEffect::NoExecute) {
            tape.maybe(50, |tape| i64::from(tape.between(0, i32::MAX - 1)))
        } else {
            None
        },
    }
}
