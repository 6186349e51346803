//! What day it is. The host's clocks show the same in every run of a turn.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in UTC, to the minute: `2026-05-03T12:40Z`.
#[allow(clippy::disallowed_methods, reason = "an agent's clock is what the host recorded")]
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    minute(seconds)
}

fn minute(unix_seconds: u64) -> String {
    let (year, month, day) = date(unix_seconds / 86_400);
    let minutes = unix_seconds % 86_400 / 60;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}Z", minutes / 60, minutes % 60)
}

/// Year, month and day of a count of days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`; years begin in March there).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(minute(0), "1970-01-01T00:00Z");
        assert_eq!(minute(951_827_699), "2000-02-29T12:34Z");
        assert_eq!(minute(1_777_777_777), "2026-05-03T03:09Z");
        assert_eq!(minute(4_102_444_799), "2099-12-31T23:59Z");
    }
}
