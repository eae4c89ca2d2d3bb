//! Random values for tests, the same for the same seed.
//!
//! Must not know any message. Invariant: no clock, no operating system, one seed.

use bytes::Bytes;

use super::Records;

/// A SplitMix64 generator.
pub struct Random(u64);

impl Random {
    /// A generator with the seed in `STRANDLINE_TEST_SEED`, or with the one given; prints it, so
    /// that a failure can be repeated.
    pub fn seeded(default: u64) -> Self {
        let seed = std::env::var("STRANDLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(default);
        println!("STRANDLINE_TEST_SEED={seed}");
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit.max(1) as u64) as usize
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Small, at the edge, or anything.
    pub fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => self.below(100) as i64,
            1 => [-1, 0, 1, i64::MAX, i64::MIN, i32::MAX.into()][self.below(6)],
            _ => self.bits() as i64,
        }
    }

    /// How many elements an array has: rarely so many that a compact length takes two bytes.
    pub fn count(&mut self) -> usize {
        match self.below(60) {
            0 => 130,
            n => n % 4,
        }
    }

    /// `length` random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.bits() as u8).collect()
    }

    /// A few random bytes, sometimes none, sometimes so many that a compact length takes two bytes.
    pub fn some_bytes(&mut self) -> Vec<u8> {
        let length = [0, 1, 7, 61, 300][self.below(5)];
        self.bytes(length)
    }

    /// A string of one-byte and three-byte characters.
    pub fn string(&mut self) -> String {
        let length = match self.below(20) {
            0 => 0,
            1 => 150,
            n => n,
        };
        (0..length).map(|_| ['a', 'Z', '-', '.', '海'][self.below(5)]).collect()
    }

    /// Records in up to three parts.
    pub fn records(&mut self) -> Records {
        let parts = self.below(4);
        let parts: Vec<_> = (0..parts).map(|_| Bytes::from(self.some_bytes())).collect();
        Records::from(parts)
    }
}
