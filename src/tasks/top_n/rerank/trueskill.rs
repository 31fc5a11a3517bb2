//! TrueSkill for two players without draws (Herbrich, Minka and Graepel 2006, section 2 and equations of the
//! two-player case), with the defaults of the Python package `trueskill`.

/// Skill as a normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rating {
    pub mu: f64,
    pub sigma: f64,
}

/// β: how far a performance is from the skill.
const BETA: f64 = 25.0 / 6.0;
/// τ: how much a skill may change between two games.
const TAU: f64 = 25.0 / 300.0;
/// The quantile of (1 + 0.10) / 2, 0.10 being the probability of a draw.
const DRAW_QUANTILE: f64 = 0.125_661_346_855_074_02;

impl Default for Rating {
    fn default() -> Self {
        Self { mu: 25.0, sigma: 25.0 / 3.0 }
    }
}

/// Both ratings after a game that the first one won.
pub(super) fn rate_1vs1(winner: Rating, loser: Rating) -> (Rating, Rating) {
    let variance = |rating: Rating| rating.sigma * rating.sigma + TAU * TAU;
    let (of_winner, of_loser) = (variance(winner), variance(loser));
    let c = (of_winner + of_loser + 2.0 * BETA * BETA).sqrt();
    let margin = DRAW_QUANTILE * std::f64::consts::SQRT_2 * BETA;
    let x = (winner.mu - loser.mu - margin) / c;
    let v = hazard(x);
    let w = v * (v + x);
    let after = |rating: Rating, variance: f64, sign: f64| Rating {
        mu: rating.mu + sign * variance / c * v,
        sigma: (variance * (1.0 - variance / (c * c) * w)).sqrt(),
    };
    (after(winner, of_winner, 1.0), after(loser, of_loser, -1.0))
}

/// φ(x) / Φ(x).
fn hazard(x: f64) -> f64 {
    // 1 / Φ's tail by its continued fraction, where the series would cancel: φ(x)/Φ(x) = −x + 1/(−x + 2/(…)).
    if x < -4.0 {
        let mut fraction = -x;
        for term in (1..=60).rev() {
            fraction = -x + f64::from(term) / fraction;
        }
        return fraction;
    }
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // Φ(x) = 1/2 + φ(x) · (x + x³/3 + x⁵/(3·5) + …)
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() && n < 400.0 {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    density / (0.5 + density * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(n: usize, games: &[(usize, usize)]) -> Vec<Rating> {
        let mut ratings = vec![Rating::default(); n];
        for &(winner, loser) in games {
            (ratings[winner], ratings[loser]) = rate_1vs1(ratings[winner], ratings[loser]);
        }
        ratings
    }

    fn batch(order: &[usize]) -> Vec<(usize, usize)> {
        let games = order.iter().enumerate();
        games.flat_map(|(at, a)| order[at + 1..].iter().map(|b| (*a, *b))).collect()
    }

    /// Values of `tools/pin_trueskill.py`; the package's Φ is good to 1e-7.
    #[test]
    fn updates_are_those_of_the_python_package() {
        let mut surprise = vec![(0, 1); 20];
        surprise.push((1, 0));
        let two = [batch(&[2, 0, 3, 1, 4]), batch(&[7, 4, 3, 6, 5])].concat();
        for (games, expected) in [
            (
                vec![(0, 1)],
                vec![
                    (29.39583201999916, 7.171475587326195),
                    (20.604167980000835, 7.171475587326195),
                ],
            ),
            (
                surprise,
                vec![
                    (29.03646762796317, 3.8450046846778863),
                    (20.963532372036823, 3.8450046846778863),
                ],
            ),
            (
                batch(&[2, 0, 3, 1, 4]),
                vec![
                    (28.657228184025268, 5.185816984478326),
                    (18.271948330964204, 4.8654432222383885),
                    (34.97431535738907, 5.608141370950219),
                    (23.17949601222038, 4.95525541255498),
                    (13.710727071605541, 4.8910537889409795),
                ],
            ),
            (
                two,
                vec![
                    (28.657228184025268, 5.185816984478326),
                    (18.271948330964204, 4.8654432222383885),
                    (34.97431535738907, 5.608141370950219),
                    (20.290010472904537, 3.63275912175987),
                    (20.541185813261016, 3.6673313010028323),
                    (11.695299198399432, 4.489791823096042),
                    (15.76369364317157, 4.467160706404662),
                    (33.47095775587831, 5.438826930099744),
                ],
            ),
        ] {
            let found = play(expected.len(), &games);
            for (found, (mu, sigma)) in found.iter().zip(&expected) {
                let close = (found.mu - mu).abs() < 2e-5 && (found.sigma - sigma).abs() < 2e-5;
                assert!(close, "{found:?}, expected {mu} {sigma}");
            }
        }
    }

    #[test]
    fn the_hazard_is_right_on_both_sides_of_the_change_of_method() {
        // φ/Φ, from tables of Φ: Φ(0) = 1/2, Φ(−1) = 0.15865525393145705, Φ(−5) = 2.866515718791939e-7,
        // Φ(−4) = 3.167124183311992e-5, Φ(3) = 0.9986501019683699.
        for (x, cdf) in [
            (0.0, 0.5),
            (-1.0, 0.15865525393145705),
            (-4.0, 3.167124183311992e-5),
            (-5.0, 2.866515718791939e-7),
            (3.0, 0.9986501019683699),
        ] {
            let density = (-0.5f64 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let expected = density / cdf;
            assert!((hazard(x) / expected - 1.0).abs() < 1e-9, "{x}: {} {expected}", hazard(x));
        }
        assert!((hazard(-4.0) - hazard(-4.0 - 1e-12)).abs() < 1e-9);
    }
}
