//! Form factor amplitudes of homogeneous bodies, and particles made of them.

use std::f64::consts::PI;

/// Outline of a body, centred on the origin, with half axes (a, b, c) along its own axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// (x/a)² + (y/b)² + (z/c)² ≤ 1
    Ellipsoid,
    /// (x/a)² + (y/b)² ≤ 1 and |z| ≤ c
    Cylinder,
    /// |x| ≤ a, |y| ≤ b, |z| ≤ c
    Cuboid,
}

/// A homogeneous body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// Outline.
    pub shape: Shape,
    /// a, b, c in Å.
    pub half_axes: [f64; 3],
    /// Scattering length density minus that of what surrounds it, any unit.
    pub contrast: f64,
}

impl Body {
    /// Volume in Å³.
    pub fn volume(&self) -> f64 {
        let [a, b, c] = self.half_axes;
        let unit_volume = match self.shape {
            Shape::Ellipsoid => 4.0 / 3.0 * PI,
            Shape::Cylinder => 2.0 * PI,
            Shape::Cuboid => 8.0,
        };
        unit_volume * a * b * c
    }

    /// F(q) = contrast · ∫ exp(i q·r) dr over the body; real, as every body is centrosymmetric. `q` is in the body's
    /// own axes. F(0) = contrast · volume.
    pub fn amplitude(&self, q: [f64; 3]) -> f64 {
        let [a, b, c] = [self.half_axes[0] * q[0], self.half_axes[1] * q[1], self.half_axes[2] * q[2]];
        let form = match self.shape {
            Shape::Ellipsoid => sphere_form((a * a + b * b + c * c).sqrt()),
            Shape::Cylinder => disc_form(a.hypot(b)) * sinc(c),
            Shape::Cuboid => sinc(a) * sinc(b) * sinc(c),
        };
        self.contrast * self.volume() * form
    }
}

/// Bodies that share centre and axes. A shell is the outer body with the shell's contrast and the core with the
/// difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Particle {
    /// The bodies, in any order.
    pub bodies: Vec<Body>,
}

impl Particle {
    /// One homogeneous body of contrast 1.
    pub fn single(shape: Shape, half_axes: [f64; 3]) -> Self {
        Self { bodies: vec![Body { shape, half_axes, contrast: 1.0 }] }
    }

    /// A core inside an outer body of the same shape; densities of core, shell and solvent.
    pub fn core_shell(shape: Shape, core: [f64; 3], outer: [f64; 3], densities: [f64; 3]) -> Self {
        let [core_density, shell_density, solvent_density] = densities;
        Self {
            bodies: vec![
                Body { shape, half_axes: outer, contrast: shell_density - solvent_density },
                Body { shape, half_axes: core, contrast: core_density - shell_density },
            ],
        }
    }

    /// I(q) = |F(q)|², in contrast² · Å⁶.
    pub fn intensity(&self, q: [f64; 3]) -> f64 {
        let amplitude: f64 = self.bodies.iter().map(|body| body.amplitude(q)).sum();
        amplitude * amplitude
    }
}

/// Below these arguments the series' next term is under one part in 10¹².
const SMALL: f64 = 1e-3;

/// sin(x)/x
fn sinc(x: f64) -> f64 {
    if x.abs() < SMALL { 1.0 - x * x / 6.0 } else { x.sin() / x }
}

/// 3(sin x − x cos x)/x³; the difference cancels for small x, so the series takes over earlier.
fn sphere_form(x: f64) -> f64 {
    if x < 0.1 {
        let square = x * x;
        1.0 - square / 10.0 * (1.0 - square / 28.0 * (1.0 - square / 54.0))
    } else {
        3.0 * (x.sin() - x * x.cos()) / (x * x * x)
    }
}

/// 2 J₁(x)/x
fn disc_form(x: f64) -> f64 {
    if x < SMALL { 1.0 - x * x / 8.0 } else { 2.0 * libm::j1(x) / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_SPHERE_ZERO: f64 = 4.493_409_457_909_064;
    const FIRST_BESSEL_ZERO: f64 = 3.831_705_970_207_512;

    #[test]
    fn forward_scattering_is_contrast_times_volume() {
        for (shape, volume) in [
            (Shape::Ellipsoid, 4.0 / 3.0 * PI * 6000.0),
            (Shape::Cylinder, 12000.0 * PI),
            (Shape::Cuboid, 48000.0),
        ] {
            let body = Body { shape, half_axes: [10.0, 20.0, 30.0], contrast: 2.0 };
            assert!((body.amplitude([0.0; 3]) / (2.0 * volume) - 1.0).abs() < 1e-12, "{shape:?}");
        }
    }

    #[test]
    fn sphere_vanishes_where_theory_says() {
        let radius = 35.0;
        let sphere = Particle::single(Shape::Ellipsoid, [radius; 3]);
        let q = FIRST_SPHERE_ZERO / radius;
        let direction = [q / 3.0f64.sqrt(); 3];
        assert!(sphere.intensity(direction) / sphere.intensity([0.0; 3]) < 1e-24);
        assert!(sphere.intensity([0.9 * q, 0.0, 0.0]) / sphere.intensity([0.0; 3]) > 1e-5);
    }

    #[test]
    fn cylinder_vanishes_at_bessel_zeros_and_at_whole_turns_of_its_length() {
        let cylinder = Particle::single(Shape::Cylinder, [20.0, 20.0, 100.0]);
        let forward = cylinder.intensity([0.0; 3]);
        assert!(cylinder.intensity([0.0, FIRST_BESSEL_ZERO / 20.0, 0.0]) / forward < 1e-24);
        assert!(cylinder.intensity([0.0, 0.0, PI / 100.0]) / forward < 1e-24);
    }

    #[test]
    fn guinier_slope_gives_the_radius_of_gyration() {
        // I(q) ≈ I(0)·exp(−q² ⟨x²⟩) along x: ⟨x²⟩ is a²/5 in an ellipsoid, a²/4 in a cylinder, a²/3 in a cuboid.
        for (shape, fraction) in [(Shape::Ellipsoid, 5.0), (Shape::Cylinder, 4.0), (Shape::Cuboid, 3.0)] {
            let particle = Particle::single(shape, [50.0, 50.0, 50.0]);
            let q = 1e-3;
            let slope = -(particle.intensity([q, 0.0, 0.0]) / particle.intensity([0.0; 3])).ln() / (q * q);
            assert!((slope / (50.0 * 50.0 / fraction) - 1.0).abs() < 1e-3, "{shape:?}: {slope}");
        }
    }

    #[test]
    fn series_and_closed_forms_meet() {
        for (form, at) in [(sinc as fn(f64) -> f64, SMALL), (sphere_form, 0.1), (disc_form, SMALL)] {
            assert!((form(at * 0.999_999) - form(at * 1.000_001)).abs() < 1e-8);
        }
    }

    #[test]
    fn a_shell_without_contrast_to_its_core_is_the_outer_body() {
        let whole =
            Particle::core_shell(Shape::Cylinder, [10.0, 10.0, 40.0], [20.0, 20.0, 50.0], [3.0, 3.0, 2.0]);
        let plain = Particle::single(Shape::Cylinder, [20.0, 20.0, 50.0]);
        let q = [0.03, -0.05, 0.02];
        assert!((whole.intensity(q) / plain.intensity(q) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_shell_matched_to_the_solvent_shows_only_the_core() {
        let matched =
            Particle::core_shell(Shape::Ellipsoid, [10.0, 10.0, 40.0], [20.0, 20.0, 50.0], [3.0, 2.0, 2.0]);
        let core = Particle::single(Shape::Ellipsoid, [10.0, 10.0, 40.0]);
        let q = [0.03, -0.05, 0.02];
        assert!((matched.intensity(q) / core.intensity(q) - 1.0).abs() < 1e-12);
    }
}
