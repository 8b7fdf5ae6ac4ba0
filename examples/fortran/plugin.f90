! Writes frames to an HDF5 file through the filter and reads them back. HDF5 itself loads the filter, as a plugin; the
! program is linked with HDF5 alone and needs no module of the filter.
!
! h5fc -shlib plugin.f90 -o plugin
! HDF5_PLUGIN_PATH=/usr/local/lib/hdf5/plugin ./plugin frames.h5
program plugin
    use, intrinsic :: iso_fortran_env, only: error_unit, int32, real32, real64
    use hdf5
    implicit none

    integer, parameter :: columns = 32, rows = 32, frames = 4, sae_filter = 34222
    !> H5Z_FLAG_MANDATORY, for which HDF5's Fortran interface has no name.
    integer, parameter :: mandatory = 0
    real(real64), parameter :: bound = 1e-3_real64
    ! HDF5's Fortran interface, too, names the fastest dimension first.
    integer(hsize_t), parameter :: dims(3) = [columns, rows, frames], chunk(3) = [columns, rows, 2]
    real(real32) :: values(columns, rows, frames), decoded(columns, rows, frames)
    real(real64) :: largest
    integer(hsize_t) :: stored_bytes
    integer :: hdferr
    logical :: available
    character(1024) :: path

    if (command_argument_count() /= 1) error stop 'usage: plugin FILE'
    call get_command_argument(1, path)
    call h5open_f(hdferr)
    call h5zfilter_avail_f(sae_filter, available, hdferr)
    if (.not. available) error stop 'plugin: HDF5_PLUGIN_PATH must name the folder of libh5zsae.so'
    call simulate(values)
    call write_frames(trim(path))
    call read_frames(trim(path))
    call h5close_f(hdferr)

    largest = maxval(abs(real(decoded, real64) - real(values, real64)))
    print '(i0, " bytes in ", i0, ", largest error ", f8.6)', 4 * size(values), stored_bytes, largest
    if (largest > bound) error stop 'plugin: the bound is broken'

contains

    !> Ends the program where a call of HDF5 failed. HDF5 has printed its error stack, with the filter's sentence in it.
    subroutine check(call_name)
        character(*), intent(in) :: call_name
        if (hdferr >= 0) return
        write (error_unit, '(3a)') 'plugin: ', call_name, ' failed'
        error stop
    end subroutine

    !> The filter's parameters: layout version, kind of bound (1: absolute), the bound as a double, low word first, the
    !> model (0, 0: the built-in one), options. `sae filter-args --abs 0.001 --format fortran` prints them.
    subroutine set_filter(dcpl)
        integer(hid_t), intent(in) :: dcpl
        integer(int32) :: cd_values(7)
        cd_values = [0, 1, words(bound), 0, 0, 0]
        call h5pset_filter_f(dcpl, sae_filter, mandatory, size(cd_values, kind=size_t), cd_values, hdferr)
        call check('h5pset_filter_f')
    end subroutine

    !> A double as two words, the low one first on any machine.
    pure function words(number) result(pair)
        use, intrinsic :: iso_fortran_env, only: int64
        real(real64), intent(in) :: number
        integer(int32) :: pair(2)
        integer(int64) :: bits
        bits = transfer(number, bits)
        pair = [low_word(bits), low_word(shiftr(bits, 32))]
    end function

    !> The low 32 bits. One above 2**31 - 1 becomes the negative number of the same bits, as HDF5 wants it.
    pure function low_word(bits) result(word)
        use, intrinsic :: iso_fortran_env, only: int64
        integer(int64), intent(in) :: bits
        integer(int32) :: word
        word = int(ibits(bits, 0, 31), int32)
        if (btest(bits, 31)) word = ibset(word, 31)
    end function

    subroutine write_frames(file_name)
        character(*), intent(in) :: file_name
        integer(hid_t) :: file, space, dcpl, dataset
        call h5pcreate_f(H5P_DATASET_CREATE_F, dcpl, hdferr)
        call h5pset_chunk_f(dcpl, 3, chunk, hdferr)
        call set_filter(dcpl)
        call h5fcreate_f(file_name, H5F_ACC_TRUNC_F, file, hdferr)
        call check('h5fcreate_f')
        call h5screate_simple_f(3, dims, space, hdferr)
        call h5dcreate_f(file, 'frames', H5T_IEEE_F32LE, space, dataset, hdferr, dcpl)
        call check('h5dcreate_f')
        call h5dwrite_f(dataset, H5T_NATIVE_REAL, values, dims, hdferr)
        call check('h5dwrite_f')
        ! HDF5 compresses a chunk when it leaves the cache: closing may fail for the filter's reasons.
        call h5dclose_f(dataset, hdferr)
        call check('h5dclose_f')
        call h5sclose_f(space, hdferr)
        call h5pclose_f(dcpl, hdferr)
        call h5fclose_f(file, hdferr)
        call check('h5fclose_f')
    end subroutine

    !> Reads like any dataset: what is needed stands in the file.
    subroutine read_frames(file_name)
        character(*), intent(in) :: file_name
        integer(hid_t) :: file, dataset
        call h5fopen_f(file_name, H5F_ACC_RDONLY_F, file, hdferr)
        call check('h5fopen_f')
        call h5dopen_f(file, 'frames', dataset, hdferr)
        call check('h5dopen_f')
        call h5dread_f(dataset, H5T_NATIVE_REAL, decoded, dims, hdferr)
        call check('h5dread_f')
        call h5dget_storage_size_f(dataset, stored_bytes, hdferr)
        call h5dclose_f(dataset, hdferr)
        call h5fclose_f(file, hdferr)
    end subroutine

    !> Rings about the centre, which widen from frame to frame.
    subroutine simulate(image)
        real(real32), intent(out) :: image(:, :, :)
        real(real64) :: radius
        integer :: column, row, frame
        do frame = 1, size(image, 3)
            do row = 1, size(image, 2)
                do column = 1, size(image, 1)
                    radius = hypot(column - columns / 2.0_real64, row - rows / 2.0_real64)
                    image(column, row, frame) = &
                        real(exp(-radius / 12) * (1 + cos(radius * 0.9_real64 / (1 + 0.02_real64 * frame))), real32)
                end do
            end do
        end do
    end subroutine
end program
