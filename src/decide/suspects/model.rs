//! The numbers of the model. All are probabilities unless stated otherwise.

use super::input::DISTANCES;

/// What the ranking believes before it sees evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// A new version breaks something.
    pub bad_version: f64,
    /// A new release of the same version breaks something.
    pub bad_release: f64,
    /// A new version or release breaks something here that is held to have broken something in another collection.
    pub bad_elsewhere: f64,
    /// The number of packages of other collections that passed with an update and count as one of this collection.
    pub passed_elsewhere: u32,
    /// The first parameter of the Beta distribution of the share of its dependents that a bad update breaks.
    pub share_few: f64,
    /// The second parameter of that distribution.
    pub share_all: f64,
    /// The relative weight of a dependent by distance class.
    pub nearness: [f64; DISTANCES],
    /// The next update of the same source repairs a bad one.
    pub repair: f64,
    /// A broken package fails each time it is built, at the levels `(probability, weight)`.
    pub hit: [(f64, f64); 2],
    /// A package's own new source makes it build with the bad update again.
    pub adapts: f64,
    /// A build fails by chance, at the levels `(probability, weight)`: most packages first, then flaky ones.
    pub chance: [(f64, f64); 4],
    /// A package begins to fail by itself between two builds of the same source.
    pub own_start: f64,
    /// A package begins to fail with its own new source.
    pub own_new: f64,
    /// A new source ends what was wrong with the package itself.
    pub own_end: f64,
    /// What was wrong with the package itself ends without a new source.
    pub own_lapse: f64,
    /// A failed build of an update ends in the same line as most others of that update.
    pub same_text: f64,
    /// The number of rounds of exchanging suspects.
    pub rounds: u32,
    /// For tests only: judges each package as if no other had been built.
    pub ignore_others: bool,
    /// For tests only: judges as if no build had passed.
    pub ignore_passes: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            bad_version: 0.04,
            bad_release: 0.01,
            bad_elsewhere: 0.5,
            passed_elsewhere: 4,
            share_few: 0.3,
            share_all: 3.0,
            nearness: [1.0, 0.5, 0.333, 0.25, 0.125],
            repair: 0.6,
            hit: [(0.99, 0.8), (0.85, 0.2)],
            adapts: 0.3,
            chance: [(0.03, 0.96), (0.12, 0.016), (0.27, 0.014), (0.45, 0.01)],
            own_start: 0.002,
            own_new: 0.02,
            own_end: 0.8,
            own_lapse: 0.01,
            same_text: 0.5,
            rounds: 2,
            ignore_others: false,
            ignore_passes: false,
        }
    }
}
