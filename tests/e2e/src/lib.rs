//! Helpers of the tests on a real control plane.
