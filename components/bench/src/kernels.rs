//! CPU-heavy kernels, the same source for the guest and for the native side of the comparison.

/// A kernel: a name and work that grows with `rounds`; the result keeps it from being left out.
pub type Kernel = fn(u32) -> u64;

/// All kernels, by name.
pub const KERNELS: &[(&str, Kernel)] =
    &[("sieve", sieve), ("hash", hash), ("matrix", matrix), ("sort", sort)];

/// Primes below 100,000 by Eratosthenes: byte stores in a tight loop.
fn sieve(rounds: u32) -> u64 {
    let mut primes = 0;
    for _ in 0..rounds {
        let mut composite = vec![false; 100_000];
        for n in 2..composite.len() {
            if !composite[n] {
                primes += 1;
                let mut multiple = n * n;
                while multiple < composite.len() {
                    composite[multiple] = true;
                    multiple += n;
                }
            }
        }
    }
    primes
}

/// FNV-1a over a mebibyte: one multiplication a byte.
fn hash(rounds: u32) -> u64 {
    let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..rounds {
        for byte in &bytes {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    state
}

/// The product of two 96 x 96 matrices of f64.
fn matrix(rounds: u32) -> u64 {
    const N: usize = 96;
    let a: Vec<f64> = (0..N * N).map(|n| (n % 7) as f64).collect();
    let mut b: Vec<f64> = (0..N * N).map(|n| (n % 5) as f64).collect();
    for _ in 0..rounds {
        let mut product = vec![0.0; N * N];
        for row in 0..N {
            for column in 0..N {
                let mut sum = 0.0;
                for k in 0..N {
                    sum += a[row * N + k] * b[k * N + column];
                }
                product[row * N + column] = sum % 11.0;
            }
        }
        b = product;
    }
    b.iter().sum::<f64>().to_bits()
}

/// Sorting 100,000 numbers from a linear congruential generator.
fn sort(rounds: u32) -> u64 {
    let mut middle = 0;
    for round in 0..rounds {
        let mut state = u64::from(round) + 1;
        let mut numbers: Vec<u64> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 11
            })
            .collect();
        numbers.sort_unstable();
        middle = numbers[numbers.len() / 2];
    }
    middle
}
