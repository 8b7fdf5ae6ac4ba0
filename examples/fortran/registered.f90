! Writes counts to an HDF5 file through the filter and reads them back. The program is linked with the filter and
! registers it: it needs no plugin path.
!
! h5fc -shlib $(pkg-config --variable=fortran_source h5zsae) registered.f90 $(pkg-config --libs h5zsae) -o registered
! ./registered counts.h5
program registered
    use, intrinsic :: iso_c_binding, only: c_int
    use, intrinsic :: iso_fortran_env, only: error_unit, int32, real64
    use h5zsae
    use hdf5
    implicit none

    integer, parameter :: columns = 32, rows = 32, frames = 4
    !> H5Z_FLAG_MANDATORY, for which HDF5's Fortran interface has no name.
    integer, parameter :: mandatory = 0
    !> No count x is off by more than this times the square root of x: a quarter of its noise.
    real(real64), parameter :: share_of_noise = 0.25_real64
    ! HDF5's Fortran interface, too, names the fastest dimension first.
    integer(hsize_t), parameter :: dims(3) = [columns, rows, frames], chunk(3) = [columns, rows, 2]
    integer(int32) :: counts(columns, rows, frames), decoded(columns, rows, frames)
    real(real64) :: largest
    integer(hsize_t) :: stored_bytes
    integer :: hdferr
    character(1024) :: path

    if (command_argument_count() /= 1) error stop 'usage: registered FILE'
    call get_command_argument(1, path)
    call h5open_f(hdferr)
    if (h5zsae_register_filter() /= H5ZSAE_OK) call fail(h5zsae_last_error_f())
    call simulate(counts)
    call write_counts(trim(path))
    call read_counts(trim(path))
    call h5close_f(hdferr)

    largest = maxval(abs(decoded - counts) / sqrt(max(real(counts, real64), 1.0_real64)))
    print '(i0, " bytes in ", i0, ", largest error ", f5.3, " of a count''s noise")', 4 * size(counts), stored_bytes, &
        largest
    if (largest > share_of_noise) error stop 'registered: the bound is broken'

contains

    subroutine fail(why)
        character(*), intent(in) :: why
        write (error_unit, '(2a)') 'registered: ', why
        error stop
    end subroutine

    !> Ends the program where a call of HDF5 failed. HDF5 has printed its error stack, with the filter's sentence in it.
    subroutine check(call_name)
        character(*), intent(in) :: call_name
        if (hdferr < 0) call fail(call_name//' failed')
    end subroutine

    subroutine set_filter(dcpl)
        integer(hid_t), intent(in) :: dcpl
        integer(c_int), allocatable :: cd_values(:)
        character(500) :: message
        integer :: status
        call h5zsae_cd_values_f(h5zsae_options(bound_kind=H5ZSAE_BOUND_NOISE, bound=share_of_noise), cd_values, &
            status, errmsg=message)
        if (status /= H5ZSAE_OK) call fail(trim(message))
        call h5pset_filter_f(dcpl, H5Z_FILTER_SAE, mandatory, size(cd_values, kind=size_t), cd_values, hdferr)
        call check('h5pset_filter_f')
    end subroutine

    subroutine write_counts(file_name)
        character(*), intent(in) :: file_name
        integer(hid_t) :: file, space, dcpl, dataset
        call h5pcreate_f(H5P_DATASET_CREATE_F, dcpl, hdferr)
        call h5pset_chunk_f(dcpl, 3, chunk, hdferr)
        call set_filter(dcpl)
        call h5fcreate_f(file_name, H5F_ACC_TRUNC_F, file, hdferr)
        call check('h5fcreate_f')
        call h5screate_simple_f(3, dims, space, hdferr)
        ! The counts are unsigned in the file; HDF5 converts.
        call h5dcreate_f(file, 'counts', H5T_STD_U32LE, space, dataset, hdferr, dcpl)
        call check('h5dcreate_f')
        call h5dwrite_f(dataset, H5T_NATIVE_INTEGER, counts, dims, hdferr)
        call check('h5dwrite_f')
        ! HDF5 compresses a chunk when it leaves the cache: closing may fail for the filter's reasons.
        call h5dclose_f(dataset, hdferr)
        call check('h5dclose_f')
        call h5sclose_f(space, hdferr)
        call h5pclose_f(dcpl, hdferr)
        call h5fclose_f(file, hdferr)
        call check('h5fclose_f')
    end subroutine

    subroutine read_counts(file_name)
        character(*), intent(in) :: file_name
        integer(hid_t) :: file, dataset
        call h5fopen_f(file_name, H5F_ACC_RDONLY_F, file, hdferr)
        call check('h5fopen_f')
        call h5dopen_f(file, 'counts', dataset, hdferr)
        call check('h5dopen_f')
        call h5dread_f(dataset, H5T_NATIVE_INTEGER, decoded, dims, hdferr)
        call check('h5dread_f')
        call h5dget_storage_size_f(dataset, stored_bytes, hdferr)
        call h5dclose_f(dataset, hdferr)
        call h5fclose_f(file, hdferr)
    end subroutine

    !> A beam with noise, from a small generator so that every run makes the same counts.
    subroutine simulate(image)
        integer(int32), intent(out) :: image(:, :, :)
        real(real64) :: mean
        integer(int32) :: state
        integer :: column, row, frame
        state = 1
        do frame = 1, size(image, 3)
            do row = 1, size(image, 2)
                do column = 1, size(image, 1)
                    mean = 2000 * exp(-((column - columns / 2)**2 + (row - rows / 2)**2) / 200.0_real64)
                    image(column, row, frame) = int(max(0.0_real64, mean + sqrt(mean) * normal(state)), int32)
                end do
            end do
        end do
    end subroutine

    !> Nearly normal numbers: the sum of 12 even ones, drawn by Schrage's form of the multiplier 16807.
    function normal(state) result(deviate)
        integer(int32), intent(inout) :: state
        real(real64) :: deviate
        integer :: draw
        deviate = -6
        do draw = 1, 12
            state = 16807 * mod(state, 127773) - 2836 * (state / 127773)
            if (state < 0) state = state + huge(state)
            deviate = deviate + real(state, real64) / huge(state)
        end do
    end function
end program
