//! Moments as dates and times, in UTC.
//!
//! Written out here because the calendar is thirty lines and a date library is not. No clock is
//! read. The algorithms are Howard Hinnant's
//! (<https://howardhinnant.github.io/date_algorithms.html>).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since 1970.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: after.subsec_nanos(),
            },
            Err(before) => Self {
                seconds: i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
                nanoseconds: 0,
            },
        }
    }
}

impl Moment {
    /// For the file system; before 1970 there is nothing.
    pub(crate) fn time(self) -> SystemTime {
        let seconds = u64::try_from(self.seconds).unwrap_or_default();
        UNIX_EPOCH + Duration::new(seconds.min(253_402_300_799), self.nanoseconds)
    }

    /// `%Y` and the like, as `date` has them; what is not known stays.
    pub(crate) fn formatted(self, format: &str) -> String {
        let days = self.seconds.div_euclid(DAY_SECONDS);
        let (year, month, day) = civil_from_days(days);
        let second_of_day = self.seconds.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) =
            (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
        let weekday = (days + 4).rem_euclid(7);
        let day_of_year = days - days_from_civil(year, 1, 1) + 1;
        let name = |names: &[&'static str], index: i64| {
            usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("")
        };
        let month_name = name(&MONTHS, month - 1);
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let mut shown = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                shown.push(c);
                continue;
            }
            let unpadded = chars.next_if_eq(&'-').is_some();
            let Some(field) = chars.next() else {
                shown.push('%');
                break;
            };
            let two = |value: i64| if unpadded { value.to_string() } else { format!("{value:02}") };
            shown.push_str(&match field {
                'Y' => year.to_string(),
                'y' => two(year.rem_euclid(100)),
                'C' => two(year.div_euclid(100)),
                'm' => two(month),
                'd' => two(day),
                'e' => {
                    if unpadded {
                        day.to_string()
                    } else {
                        format!("{day:2}")
                    }
                }
                'H' => two(hour),
                'I' => two(twelve),
                'M' => two(minute),
                'S' => two(second),
                'j' => {
                    if unpadded {
                        day_of_year.to_string()
                    } else {
                        format!("{day_of_year:03}")
                    }
                }
                'N' => format!("{:09}", self.nanoseconds),
                's' => self.seconds.to_string(),
                'a' => name(&DAYS, weekday).chars().take(3).collect(),
                'A' => name(&DAYS, weekday).to_owned(),
                'b' | 'h' => month_name.chars().take(3).collect(),
                'B' => month_name.to_owned(),
                'u' => if weekday == 0 { 7 } else { weekday }.to_string(),
                'w' => weekday.to_string(),
                'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
                'P' => if hour < 12 { "am" } else { "pm" }.to_owned(),
                'F' => format!("{year:04}-{month:02}-{day:02}"),
                'D' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
                'T' => format!("{hour:02}:{minute:02}:{second:02}"),
                'R' => format!("{hour:02}:{minute:02}"),
                'Z' => "UTC".to_owned(),
                'z' => "+0000".to_owned(),
                'n' => "\n".to_owned(),
                't' => "\t".to_owned(),
                '%' => "%".to_owned(),
                other => format!("%{other}"),
            });
        }
        shown
    }

    /// `@SECONDS`, or a date with or without a time: `2026-11-21`, `2026-11-21T16:00:00Z`.
    pub(crate) fn parsed(text: &str) -> Option<Self> {
        if let Some(seconds) = text.strip_prefix('@') {
            let seconds: i64 = seconds.parse().ok()?;
            let years_max = 9_999 * 366 * DAY_SECONDS;
            return (seconds.abs() < years_max).then_some(Self { seconds, nanoseconds: 0 });
        }
        let text = text.trim_end_matches("UTC").trim().trim_end_matches('Z');
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:0"));
        let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let mut parts = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let (hour, minute) = (parts.next()??, parts.next()??);
        let second = parts.next().map_or(Some(0), |second| second)?;
        let is_date = (1..=9_999).contains(&year) && (1..=12).contains(&month);
        let days = if is_date { days_from_civil(year, month, day) } else { return None };
        let is_time =
            (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
        let is_real = is_time && (1..=31).contains(&day) && civil_from_days(days).2 == day;
        let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
        is_real.then_some(Self { seconds, nanoseconds: 0 })
    }
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // The count starts at 0000-03-01, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The other way round.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment { seconds, nanoseconds: 5_000_000 }
    }

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
        ] {
            assert_eq!(at(seconds).formatted("%FT%T"), expected);
            let parsed = Moment::parsed(expected).expect("a date");
            assert_eq!(parsed.seconds, seconds);
        }
    }

    #[test]
    fn fields_are_those_of_date() {
        let time = at(1_780_000_000);
        assert_eq!(
            time.formatted("%a %A %b %d %e %j %I %p %N %s %% %q %-m"),
            "Thu Thursday May 28 28 148 08 PM 005000000 1780000000 % %q 5"
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "tomorrow", "2026-02-30", "2026-13-01", "@x", "@99999999999999999"] {
            assert_eq!(Moment::parsed(text), None, "{text}");
        }
    }
}
