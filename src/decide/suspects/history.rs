//! How likely the results of one package are, given which of its builds a bad update reached.

use super::model::Model;

/// The most builds of a package that count: its newest ones.
pub(super) const BUILDS: usize = 64;
/// The number of levels at which a broken package fails.
pub(super) const HITS: usize = 2;

/// The results of the newest builds of a package, as sets of builds. Bit 0 is the oldest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct History {
    /// How many builds there are.
    pub count: usize,
    /// The failed ones.
    pub failed: u64,
    /// Those whose own source is not that of the build before.
    pub changed: u64,
}

/// What is behind a failed build if no update is, or the update that reaches it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Behind {
    /// The package itself.
    pub own: f64,
    /// Chance.
    pub chance: f64,
    /// The bad update.
    pub update: f64,
}

/// The probability of the states that a package can be in.
#[derive(Clone, Copy)]
struct States {
    /// Well and broken by itself, with the update able to break it.
    open: [f64; 2],
    /// Well and broken by itself, after its own source has adapted to the update.
    adapted: [f64; 2],
}

impl States {
    /// What happens between two builds.
    fn next(self, model: &Model, changed: bool, come: bool) -> Self {
        let (start, end) = if changed { (model.own_new, model.own_end) } else { (model.own_start, model.own_lapse) };
        let step = |s: [f64; 2]| {
            [s[0] * (1.0 - start) + s[1] * end * (1.0 - start), s[0] * start + s[1] * (1.0 - end * (1.0 - start))]
        };
        let (open, adapted) = (step(self.open), step(self.adapted));
        if !changed || !come {
            return Self { open, adapted };
        }
        let a = model.adapts;
        Self {
            open: [open[0] * (1.0 - a), open[1] * (1.0 - a)],
            adapted: [adapted[0] + open[0] * a, adapted[1] + open[1] * a],
        }
    }

    /// The sum.
    fn sum(self) -> f64 {
        self.open[0] + self.open[1] + self.adapted[0] + self.adapted[1]
    }
}

impl History {
    /// The probability of the results if a bad update that breaks this package was in the buildroots of `reached`,
    /// for each level of [`Model::hit`]. Cost: about 50 multiplications per build.
    pub(super) fn likelihood(&self, model: &Model, reached: u64) -> [f64; HITS] {
        let mut out = [0.0; HITS];
        for (level, hit) in model.hit.iter().enumerate() {
            if reached == 0 && level > 0 {
                out[level] = out[0];
                continue;
            }
            for (rate, weight) in model.chance {
                out[level] += weight * self.pass(model, reached, hit.0, rate, None).sum();
            }
        }
        out
    }

    /// What is behind a failed build, given that an update that breaks the package was in the buildroots of
    /// `reached`. The three sum to 1.
    pub(super) fn behind(&self, model: &Model, reached: u64, build: usize) -> Behind {
        let mut behind = Behind::default();
        for (rate, weight) in model.chance {
            let hit = if reached >> build & 1 == 1 { model.hit[0].0 } else { 0.0 };
            let all = self.pass(model, reached, model.hit[0].0, rate, Some((build, hit)));
            behind.own += weight * all.open[0];
            behind.chance += weight * all.open[1];
            behind.update += weight * all.adapted[0];
        }
        let sum = behind.own + behind.chance + behind.update;
        if sum > 0.0 {
            behind.own /= sum;
            behind.chance /= sum;
            behind.update /= sum;
        }
        behind
    }

    /// Goes through the builds. With `split`, the result is not the states at the end but what is behind that build:
    /// the package itself, chance, the update, 0.
    fn pass(&self, model: &Model, reached: u64, hit: f64, rate: f64, split: Option<(usize, f64)>) -> States {
        let mut lanes = [States { open: [1.0, 0.0], adapted: [0.0, 0.0] }; 3];
        let mut used = 1;
        for build in 0..self.count {
            let bit = 1_u64 << build;
            let failed = self.failed & bit != 0;
            let here = reached & bit != 0;
            for lane in lanes.iter_mut().take(used) {
                // A source cannot adapt to an update that has not come yet.
                let come = reached & (bit | (bit - 1)) != 0;
                *lane = lane.next(model, self.changed & bit != 0, come);
            }
            if model.ignore_passes && !failed {
                continue;
            }
            if let Some((at, hit)) = split
                && at == build
            {
                let s = lanes[0];
                // The package itself comes first where it fails for sure; the update comes before chance.
                let own = States { open: [0.0, s.open[1] * 0.98 * (1.0 - hit)], adapted: [0.0, s.adapted[1] * 0.98] };
                let chance =
                    States { open: [s.open[0] * (1.0 - hit) * rate, 0.0], adapted: [s.adapted[0] * rate, 0.0] };
                let update = States { open: [s.open[0] * hit, s.open[1] * hit], adapted: [0.0, 0.0] };
                lanes = [own, chance, update];
                used = 3;
                continue;
            }
            let well = if here { 1.0 - (1.0 - hit) * (1.0 - rate) } else { rate };
            let fail = [[well, rate], [1.0 - (1.0 - well) * 0.02, 0.98]];
            for lane in lanes.iter_mut().take(used) {
                for ([open, adapted], (o, a)) in fail.iter().zip(lane.open.iter_mut().zip(&mut lane.adapted)) {
                    *o *= if failed { *open } else { 1.0 - open };
                    *a *= if failed { *adapted } else { 1.0 - adapted };
                }
            }
        }
        if split.is_some() && used == 3 {
            let [own, chance, update] = lanes.map(States::sum);
            return States { open: [own, chance], adapted: [update, 0.0] };
        }
        lanes[0]
    }
}
