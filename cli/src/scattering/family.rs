//! Families of particles, and how their sizes are drawn.
//!
//! The distributions follow those with which SasView's `sasmodels` draws test particles: volumes and lengths
//! log-uniform over decades, shells that prefer to be thin or thick.

use std::f64::consts::{FRAC_PI_2, PI};

use clap::ValueEnum;
use rand::Rng;

use super::body::{Particle, Shape};

/// A kind of particle; the names are those of `sasmodels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Family {
    /// Homogeneous ball
    Sphere,
    /// Ellipsoid of revolution
    Ellipsoid,
    /// Three different half axes
    TriaxialEllipsoid,
    /// Circular cylinder
    Cylinder,
    /// Cylinder with an elliptic base
    EllipticalCylinder,
    /// Tube
    HollowCylinder,
    /// Cylinder with a shell of even thickness
    CoreShellCylinder,
    /// Ellipsoid of revolution in a shell
    CoreShellEllipsoid,
    /// Ball in a shell
    CoreShellSphere,
    /// Cuboid
    Parallelepiped,
}

/// The families of the broad set, in the order of their indices.
pub const BROAD_FAMILIES: [Family; 8] = [
    Family::Cylinder,
    Family::Ellipsoid,
    Family::Parallelepiped,
    Family::CoreShellCylinder,
    Family::HollowCylinder,
    Family::TriaxialEllipsoid,
    Family::EllipticalCylinder,
    Family::CoreShellEllipsoid,
];

impl Family {
    /// The name, as on the command line and in files.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// Draws a particle of the broad set.
    pub fn draw(self, rng: &mut impl Rng) -> Particle {
        match self {
            Self::Sphere => Particle::single(Shape::Ellipsoid, [log_uniform(rng, 1.3, 4.0); 3]),
            Self::Ellipsoid => draw_ellipsoid(rng),
            Self::TriaxialEllipsoid => Particle::single(Shape::Ellipsoid, draw_lengths(rng)),
            Self::Cylinder => draw_cylinder(rng),
            Self::EllipticalCylinder => draw_elliptical_cylinder(rng),
            Self::HollowCylinder => draw_hollow_cylinder(rng),
            Self::CoreShellCylinder => draw_core_shell_cylinder(rng),
            Self::CoreShellEllipsoid => draw_core_shell_ellipsoid(rng),
            Self::CoreShellSphere => draw_core_shell_sphere(rng),
            Self::Parallelepiped => {
                Particle::single(Shape::Cuboid, draw_lengths(rng).map(|length| length / 2.0))
            }
        }
    }
}

/// Draws a particle of the narrow set: cylinders of radius 20 to 100 Å and length 50 to 400 Å.
pub fn draw_narrow(rng: &mut impl Rng) -> Particle {
    cylinder(rng.random_range(20.0..100.0), rng.random_range(50.0..400.0))
}

fn cylinder(radius: f64, length: f64) -> Particle {
    Particle::single(Shape::Cylinder, [radius, radius, length / 2.0])
}

/// 10^u with u uniform.
pub fn log_uniform(rng: &mut impl Rng, low_exponent: f64, high_exponent: f64) -> f64 {
    10f64.powf(rng.random_range(low_exponent..high_exponent))
}

fn draw_lengths(rng: &mut impl Rng) -> [f64; 3] {
    [(); 3].map(|()| log_uniform(rng, 1.0, 4.7))
}

/// Splits a radius into (part, rest): the part is from the arcsine distribution Beta(½, ½), so mostly thin or thick,
/// and neither is below 1 Å.
fn split_radius(rng: &mut impl Rng, whole: f64) -> (f64, f64) {
    let fraction = (FRAC_PI_2 * rng.random::<f64>()).sin().powi(2);
    let part = fraction * (whole - 2.0) + 1.0;
    (part, whole - part)
}

/// Scattering length densities of core, shell and solvent, in 10⁻⁶/Å².
fn draw_densities(rng: &mut impl Rng) -> [f64; 3] {
    [(); 3].map(|()| rng.random_range(-0.5..12.0))
}

fn draw_cylinder(rng: &mut impl Rng) -> Particle {
    let volume = log_uniform(rng, 5.0, 12.0);
    let length = log_uniform(rng, -2.0, 2.0) * volume.cbrt();
    cylinder((volume / length / PI).sqrt(), length)
}

fn draw_ellipsoid(rng: &mut impl Rng) -> Particle {
    let (polar, equatorial) = draw_spheroid_radii(rng);
    Particle::single(Shape::Ellipsoid, [equatorial, equatorial, polar])
}

fn draw_spheroid_radii(rng: &mut impl Rng) -> (f64, f64) {
    let volume = log_uniform(rng, 5.0, 12.0);
    let polar = log_uniform(rng, 1.3, 4.0);
    (polar, (volume / polar).sqrt())
}

fn draw_elliptical_cylinder(rng: &mut impl Rng) -> Particle {
    let volume = log_uniform(rng, 3.0, 9.0);
    let length = log_uniform(rng, 1.0, 3.0);
    let axis_ratio = log_uniform(rng, 0.0, 2.0);
    let minor = (volume / length / axis_ratio).sqrt();
    Particle::single(Shape::Cylinder, [minor, axis_ratio * minor, length / 2.0])
}

fn draw_hollow_cylinder(rng: &mut impl Rng) -> Particle {
    let half_length = log_uniform(rng, 1.0, 4.7) / 2.0;
    let outer = log_uniform(rng, 1.0, 4.7);
    let (_wall, inner) = split_radius(rng, outer);
    let [hole, tube] = [inner, outer].map(|radius| [radius, radius, half_length]);
    Particle::core_shell(Shape::Cylinder, hole, tube, [0.0, 1.0, 0.0])
}

/// The core is a thin plate, 1 to 4.7 Å, in a shell of any thickness: so `sasmodels` draws it.
fn draw_core_shell_cylinder(rng: &mut impl Rng) -> Particle {
    let outer = log_uniform(rng, 1.0, 4.7);
    let (radius, thickness) = split_radius(rng, outer);
    let half_length = rng.random_range(1.0..4.7) / 2.0;
    Particle::core_shell(
        Shape::Cylinder,
        [radius, radius, half_length],
        [outer, outer, half_length + thickness],
        draw_densities(rng),
    )
}

fn draw_core_shell_ellipsoid(rng: &mut impl Rng) -> Particle {
    let (polar, equatorial) = draw_spheroid_radii(rng);
    let (_, core_polar) = split_radius(rng, polar);
    let (_, core_equatorial) = split_radius(rng, equatorial);
    Particle::core_shell(
        Shape::Ellipsoid,
        [core_equatorial, core_equatorial, core_polar],
        [equatorial, equatorial, polar],
        draw_densities(rng),
    )
}

fn draw_core_shell_sphere(rng: &mut impl Rng) -> Particle {
    let outer = log_uniform(rng, 1.3, 4.3);
    let (core, _) = split_radius(rng, outer);
    Particle::core_shell(Shape::Ellipsoid, [core; 3], [outer; 3], draw_densities(rng))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_family_draws_particles_of_positive_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for family in Family::value_variants() {
            for _ in 0..500 {
                let particle = family.draw(&mut rng);
                let sizes = particle.bodies.iter().flat_map(|body| body.half_axes);
                assert!(sizes.into_iter().all(|size| size > 0.0 && size < 1e6), "{family:?}: {particle:?}");
            }
        }
    }

    #[test]
    fn cores_lie_inside_their_shells() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for family in [
            Family::HollowCylinder,
            Family::CoreShellCylinder,
            Family::CoreShellEllipsoid,
            Family::CoreShellSphere,
        ] {
            for _ in 0..500 {
                let bodies = family.draw(&mut rng).bodies;
                let (outer, core) = (bodies[0].half_axes, bodies[1].half_axes);
                assert!(outer.iter().zip(core).all(|(outer, core)| core <= *outer), "{family:?}");
            }
        }
    }

    #[test]
    fn names_are_those_of_sasmodels() {
        assert_eq!(Family::CoreShellCylinder.name(), "core_shell_cylinder");
        assert_eq!(Family::TriaxialEllipsoid.name(), "triaxial_ellipsoid");
    }
}
