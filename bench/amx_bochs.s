# What Bochs begins with, for amx_bochs.py: it goes to 64 bits, reads the memory from the disk, calls
# `perform` and writes the memory back. There is no system, nor interrupts.

.code16
.section .rom, "ax"
begin:                          # 1 GiB of memory at its own addresses, and 64 bits
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x1000, %di
    xor %eax, %eax
    mov $0x800, %cx
    rep stosl
    movl $0x2003, 0x1000
    movl $0x83, 0x2000
    mov $0x1000, %eax
    mov %eax, %cr3
    mov $0x40620, %eax
    mov %eax, %cr4
    mov $0xC0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    lgdtl %cs:table - begin
    mov $0x80000033, %eax
    mov %eax, %cr0
    ljmpl $8, $start
    .balign 8
segments:
    .quad 0, 0x00209A0000000000
table:
    .word 15
    .long segments
.section .reset, "ax"           # where the CPU begins
    ljmp $0xF000, $0

.code64
.text
start:
    mov $0x80000, %esp
    xor %ecx, %ecx
    xor %edx, %edx
    mov $0x600E7, %eax          # the registers of AVX-512 and AMX
    xsetbv
    mov $0x20, %ebp             # read the disk
    call transfer
    mov $0x7000, %edi
    mov $0x7008, %esi
    mov $memory, %edx
    mov $product, %ecx
    call perform
    mov $0x30, %ebp             # write it
    call transfer
finish:
    in %dx, %al
    test $0x80, %al
    jnz finish
    mov $farewell, %esi         # at this word Bochs ends
    mov $8, %ecx
    mov $0x8900, %edx
    rep outsb
    hlt
farewell:
    .ascii "Shutdown"

transfer:                       # all sectors from or to the memory, 256 in a go
    mov $memory, %edi
    mov $memory, %esi
    xor %ebx, %ebx
some:
    mov $0x1F2, %edx
    xor %eax, %eax
    out %al, %dx
    inc %edx
    mov %ebx, %eax
    out %al, %dx
    inc %edx
    shr $8, %eax
    out %al, %dx
    inc %edx
    shr $8, %eax
    out %al, %dx
    inc %edx
    mov $0xE0, %al
    out %al, %dx
    inc %edx
    mov %ebp, %eax
    out %al, %dx
    mov $256, %r8d
sector:
    in %dx, %al
    and $0x88, %al
    cmp $8, %al
    jne sector
    mov $0x1F0, %edx
    mov $256, %ecx
    cmp $0x20, %ebp
    je read
    rep outsw
    jmp moved
read:
    rep insw
moved:
    mov $0x1F7, %edx
    dec %r8d
    jnz sector
    add $256, %ebx
    cmp $sectors, %ebx
    jb some
    ret

    .globl memset
memset:
    mov %rdi, %r8
    mov %rdx, %rcx
    mov %esi, %eax
    rep stosb
    mov %r8, %rax
    ret
.section .note.GNU-stack, "", @progbits
