//! Helpers of the tests on a real control plane.

pub mod add_ons;
pub mod api;
pub mod gitops;
pub mod real;
pub mod sim;
