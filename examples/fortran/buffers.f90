! Compresses a stack of frames in memory and decompresses it, without HDF5.
!
! gfortran $(pkg-config --variable=fortran_source h5zsae) buffers.f90 $(pkg-config --libs h5zsae) -o buffers
program buffers
    use, intrinsic :: iso_c_binding, only: c_int64_t, c_ptr
    use, intrinsic :: iso_fortran_env, only: error_unit, int8, real32, real64
    use h5zsae
    implicit none

    integer, parameter :: columns = 32, rows = 32, frames = 4
    real(real64), parameter :: bound = 1e-3_real64
    real(real32) :: values(columns, rows, frames)
    real(real32), allocatable :: decoded(:, :, :)
    integer(int8), allocatable :: stream(:)
    type(h5zsae_header) :: header
    type(c_ptr) :: model
    real(real64) :: largest
    integer :: status
    character(500) :: message

    if (h5zsae_abi_version_f() /= H5ZSAE_ABI_VERSION) then
        error stop 'buffers: h5zsae.F90 is of another version than libh5zsae'
    end if
    call simulate(values)

    if (h5zsae_model_find(0_c_int64_t, model) /= H5ZSAE_OK) call fail(h5zsae_last_error_f())
    call h5zsae_compress_f(values, stream, status, h5zsae_options(bound_kind=H5ZSAE_BOUND_ABSOLUTE, bound=bound), &
        model, message)
    if (status /= H5ZSAE_OK) call fail(trim(message))
    call h5zsae_model_free(model)

    ! A stream says what it holds.
    call h5zsae_stream_info_f(stream, header, status, message)
    if (status /= H5ZSAE_OK) call fail(trim(message))
    associate (extents => h5zsae_shape_f(header))
        allocate (decoded(extents(1), extents(2), extents(3)))
    end associate
    call h5zsae_decompress_f(stream, decoded, status, errmsg=message)
    if (status /= H5ZSAE_OK) call fail(trim(message))

    largest = maxval(abs(real(decoded, real64) - real(values, real64)))
    print '(i0, " bytes in ", i0, ", largest error ", f8.6, " (at most ", f8.6, ", says the header)")', &
        header%decoded_bytes, size(stream), largest, header%max_abs_err
    if (largest > bound) error stop 'buffers: the bound is broken'
    ! What a main program allocates is not freed at its end.
    deallocate (stream, decoded)

contains

    subroutine fail(why)
        character(*), intent(in) :: why
        write (error_unit, '(2a)') 'buffers: ', why
        error stop
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
