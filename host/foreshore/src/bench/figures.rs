//! Small sums over measurements.

use std::time::Duration;

/// The middle of a set of figures; zero for none.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A percentile of sorted durations, in microseconds.
pub(crate) fn percentile_us(sorted: &[Duration], share: f64) -> f64 {
    let mut index = 0;
    while float(index + 1) < float(sorted.len()) * share {
        index += 1;
    }
    sorted.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
}

/// A count as a figure; counts of measurements are far below 2^32.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_one_of_the_measurements() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!(percentile_us(&sorted, 0.99), 99.0);
        assert_eq!(percentile_us(&sorted, 0.5), 50.0);
        assert_eq!(percentile_us(&[], 0.5), 0.0);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
